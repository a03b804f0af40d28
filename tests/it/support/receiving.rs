//! A receive line on a test store, with the shipped example publication.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tidings::app::{self, Setup};
use tidings::domain::inbound::InboundSource;
use tidings::domain::token::{Purpose, Subject};
use tidings::intake::ReceivedMail;
use tidings::mail::token::Keyring;
use tidings::runtime::Timestamp;
use tidings::store::inbound::InboundRow;
use tidings::store::threads::{PostRow, ThreadRow};
use tidings::store::{Store, inbound, threads};
use tidings::tasks::receive::{self, Receiver, Recorded, Recorder};

use super::clock::TUESDAY;

/// The shipped example, with a secret and the given settings.
pub fn example(flags: &[(&str, &str)]) -> Setup {
    load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tidings.toml"), flags)
}

fn load(config: &Path, flags: &[(&str, &str)]) -> Setup {
    let env = BTreeMap::from([("TIDINGS_SECRET".to_owned(), "a secret of sixteen or more".to_owned())]);
    let flags: Vec<_> = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let (setup, problems) = Setup::load(config, &env, &flags);
    setup.unwrap_or_else(|| panic!("{problems:?}"))
}

/// The example in a folder of its own, without its one-offs: in this zone, with these slots and only these articles. The folder
/// stays until the operating system clears its temporary files.
pub fn example_of(zone: &str, slots: &str, articles: &[(String, String)]) -> Setup {
    let folder = tempfile::tempdir().unwrap().keep();
    let config = folder.join("config");
    std::fs::create_dir_all(config.join("articles")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    std::fs::copy(shipped.join("tidings.toml"), config.join("tidings.toml")).unwrap();
    let publication = std::fs::read_to_string(shipped.join("publication.toml")).unwrap();
    let (before, _) = publication.split_once("[[editions]]").unwrap();
    let publication = format!("{}\n{slots}", before.replace("America/New_York", zone));
    std::fs::write(config.join("publication.toml"), publication).unwrap();
    for (name, text) in articles {
        std::fs::write(config.join("articles").join(name), text).unwrap();
    }
    load(&config.join("tidings.toml"), &[])
}

pub struct Receiving {
    pub setup: Setup,
    pub store: Store,
    pub receiver: Receiver,
    recorder: Recorder,
}

impl Receiving {
    pub async fn start(store: &Store) -> Receiving {
        Receiving::start_with(store, &[]).await
    }

    /// With these settings.
    pub async fn start_with(store: &Store, flags: &[(&str, &str)]) -> Receiving {
        let setup = example(flags);
        let receiver = app::receiver(&setup, store, Default::default(), Arc::default()).await.unwrap();
        let (recorder, line) = receive::recorder(store.clone(), Arc::default());
        tokio::spawn(line.run(|| TUESDAY));
        Receiving { setup, store: store.clone(), receiver, recorder }
    }

    /// The address that carries a token of this purpose.
    pub fn address(&self, purpose: Purpose, row: i64, second: i64) -> String {
        let token = self.setup.keyring.mint(Subject { purpose, row, second });
        let patterns = &self.setup.settings.addresses;
        match purpose {
            Purpose::Bounce => patterns.bounce.with(&token),
            Purpose::Unsubscribe => patterns.unsubscribe.as_ref().unwrap().with(&token),
            _ => patterns.reply.with(&token),
        }
    }

    pub async fn record(&self, recipient: &str, envelope_from: &str, raw: &[u8]) -> Recorded {
        let mail = ReceivedMail {
            envelope_from: Some(envelope_from.to_owned()),
            recipient: recipient.to_owned(),
            source: InboundSource::Lmtp,
            raw: Arc::new(raw.to_vec()),
        };
        self.recorder.record(mail).await.unwrap()
    }

    /// Records and understands one message.
    pub async fn take(&self, recipient: &str, envelope_from: &str, raw: &[u8]) -> InboundRow {
        self.take_at(recipient, envelope_from, raw, TUESDAY).await
    }

    pub async fn take_at(&self, recipient: &str, from: &str, raw: &[u8], now: Timestamp) -> InboundRow {
        let Recorded::New(id) = self.record(recipient, from, raw).await else { panic!("known before") };
        self.receiver.drain(|| now).await.unwrap();
        self.inbound(id).await
    }

    pub async fn inbound(&self, id: i64) -> InboundRow {
        inbound::show(&mut self.store.read().await.unwrap(), id).await.unwrap().unwrap().0
    }

    pub async fn threads(&self) -> Vec<ThreadRow> {
        threads::inbox(&mut self.store.read().await.unwrap(), "", 100).await.unwrap()
    }

    pub async fn posts(&self, thread: i64) -> Vec<PostRow> {
        threads::posts(&mut self.store.read().await.unwrap(), thread).await.unwrap()
    }
}

/// A plain message; `more` are further header lines, each ended by CRLF.
pub fn message(from: &str, id: &str, more: &str, text: &str) -> Vec<u8> {
    format!(
        "From: {from}\r\nTo: support@news.example.org\r\nSubject: Re: Make it smaller\r\n\
         Message-ID: <{id}>\r\n{more}\r\n{}\r\n",
        text.replace('\n', "\r\n")
    )
    .into_bytes()
}

/// The keyring of the example.
pub fn keyring() -> Keyring {
    Keyring::new(&["a secret of sixteen or more".to_owned().into()]).unwrap()
}
