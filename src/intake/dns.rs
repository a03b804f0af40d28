//! Questions to a name server: the one that the settings name, or the system's.
//!
//! An answer that there is nothing and no answer are different things (W77): who asks is told which. Every question has an end.
//! Nothing is cached, because who repairs a record asks again at once.

use std::net::SocketAddr;
use std::time::Duration;

use mail_auth::hickory_resolver::TokioResolver;
use mail_auth::hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::hickory_resolver::net::runtime::TokioRuntimeProvider;
use mail_auth::hickory_resolver::net::{DnsError, NetError};
use mail_auth::hickory_resolver::proto::op::ResponseCode;
use mail_auth::hickory_resolver::proto::rr::{Name, RData, RecordType};
use mail_auth::hickory_resolver::system_conf::read_system_conf;

use crate::domain::doctor::{Answer, Kind, Question};

/// Of one try.
const TRY: Duration = Duration::from_secs(2);
const TRIES: usize = 2;
/// Of a question with all its tries.
const LIMIT: Duration = Duration::from_secs(8);

/// The settings of a resolver that asks this name server only.
pub(super) fn only(place: SocketAddr) -> ResolverConfig {
    let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = place.port();
    }
    ResolverConfig::from_parts(
        None,
        Vec::new(),
        vec![NameServerConfig::new(place.ip(), true, connections.into())],
    )
}

/// Asks for records.
#[derive(Clone)]
pub struct Names {
    resolver: TokioResolver,
}

impl Names {
    /// `place`: the name server to ask; without, the system's.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(place: Option<SocketAddr>) -> Result<Names, String> {
        let (config, mut options) = match place {
            Some(place) => (only(place), ResolverOpts::default()),
            None => {
                read_system_conf().map_err(|error| format!("the system names no name server: {error}"))?
            }
        };
        (options.timeout, options.attempts, options.cache_size) = (TRY, TRIES, 0);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build().map_err(|error| error.to_string())?;
        Ok(Names { resolver })
    }

    /// Asks one question. Never fails: what could not be found out is an answer too.
    pub async fn ask(&self, question: &Question) -> Answer {
        let Ok(name) = Name::from_str_relaxed(format!("{}.", question.name)) else {
            // What is no name in DNS is not there either.
            return Answer::Nothing;
        };
        match tokio::time::timeout(LIMIT, self.resolver.lookup(name, record_type(question.kind))).await {
            Err(_) => Answer::Unknown(format!("no answer within {} s", LIMIT.as_secs())),
            Ok(Ok(lookup)) => {
                let records: Vec<String> =
                    lookup.answers().iter().filter_map(|record| text(question.kind, &record.data)).collect();
                if records.is_empty() { Answer::Nothing } else { Answer::Records(records) }
            }
            Ok(Err(error)) => negative(question.kind, &error),
        }
    }
}

fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::Txt => RecordType::TXT,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Mx => RecordType::MX,
        Kind::Ptr => RecordType::PTR,
        Kind::Soa => RecordType::SOA,
    }
}

/// A record as the rules read it; others, such as the CNAME on the way, are none.
fn text(kind: Kind, data: &RData) -> Option<String> {
    let name = |name: &Name| name.to_ascii().trim_end_matches('.').to_lowercase();
    match (kind, data) {
        (Kind::Txt, RData::TXT(txt)) => {
            let octets: Vec<u8> = txt.txt_data.iter().flat_map(|string| string.iter().copied()).collect();
            Some(String::from_utf8_lossy(&octets).into_owned())
        }
        (Kind::A, RData::A(address)) => Some(address.0.to_string()),
        (Kind::Aaaa, RData::AAAA(address)) => Some(address.0.to_string()),
        (Kind::Mx, RData::MX(mx)) => {
            Some(format!("{} {}", mx.preference, name(&mx.exchange)).trim_end().to_owned())
        }
        (Kind::Ptr, RData::PTR(pointer)) => Some(name(&pointer.0)),
        (Kind::Soa, RData::SOA(_)) => Some("of its own".to_owned()),
        _ => None,
    }
}

fn negative(kind: Kind, error: &NetError) -> Answer {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match (none.response_code, &none.soa) {
            (ResponseCode::NoError, Some(soa)) if kind == Kind::Soa => {
                Answer::Records(vec![soa.name.to_ascii().trim_end_matches('.').to_owned()])
            }
            (ResponseCode::NoError | ResponseCode::NXDomain, _) => Answer::Nothing,
            (code, _) => Answer::Unknown(format!("the name server says {code}")),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => {
            Answer::Unknown(format!("the name server says {code}"))
        }
        NetError::Timeout => Answer::Unknown("no answer in time".to_owned()),
        other => Answer::Unknown(other.to_string()),
    }
}
