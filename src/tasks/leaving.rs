//! Leaving through a link. Providers press thousands of these in a minute when an edition is out (W220), so those that wait at the
//! same time share one commit: they cost sending one write, however many they are.

use tokio::sync::{mpsc, oneshot};

use crate::runtime::Timestamp;
use crate::store::{Store, StoreError, people};

/// Wishes of one commit.
const GROUP: usize = 512;

/// What the consent history says about who left through a link.
const SOURCE: &str = "website";

/// The store could not write it down; the peer is told to come again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("it could not be written down: {0}")]
pub struct LeaveProblem(String);

type Wish = (i64, oneshot::Sender<Result<bool, LeaveProblem>>);

/// A page's side. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leaver(mpsc::Sender<Wish>);

/// The store's side.
pub struct LeavingLine {
    store: Store,
    incoming: mpsc::Receiver<Wish>,
}

/// A leaver with the line that serves it.
pub fn leaver(store: Store) -> (Leaver, LeavingLine) {
    let (sender, incoming) = mpsc::channel(GROUP);
    (Leaver(sender), LeavingLine { store, incoming })
}

impl Leaver {
    /// Returns after it is committed. Answers whether the person got mail until now.
    ///
    /// # Errors
    /// When it is not committed.
    pub async fn leave(&self, subscriber: i64) -> Result<bool, LeaveProblem> {
        let gone = || LeaveProblem("the process is stopping".into());
        let (answer, answered) = oneshot::channel();
        self.0.send((subscriber, answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl LeavingLine {
    /// Writes until every leaver is gone.
    pub async fn run(mut self, now: impl Fn() -> Timestamp) {
        let mut group = Vec::new();
        while self.incoming.recv_many(&mut group, GROUP).await > 0 {
            let written = self.write(&group, now()).await;
            if let Err(error) = &written {
                tracing::error!(%error, people = group.len(), "who wants to leave has to ask again");
            }
            for (at, (_, answer)) in group.drain(..).enumerate() {
                let told = match &written {
                    Ok(changed) => Ok(changed[at]),
                    Err(error) => Err(LeaveProblem(error.to_string())),
                };
                // Who does not wait any more has left nevertheless.
                let _ = answer.send(told);
            }
        }
    }

    async fn write(&self, group: &[Wish], now: Timestamp) -> Result<Vec<bool>, StoreError> {
        let mut tx = self.store.write().await?;
        let mut changed = vec![false; group.len()];
        // In the order in which an import holds people: else the two might wait for each other.
        let mut order: Vec<usize> = (0..group.len()).collect();
        order.sort_by_key(|at| group[*at].0);
        for at in order {
            changed[at] = people::unsubscribe(&mut tx, group[at].0, SOURCE, now).await?;
        }
        tx.commit().await?;
        Ok(changed)
    }
}
