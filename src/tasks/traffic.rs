//! What may leave now: the permits of lanes and relays in this process.
//!
//! Limits live in rows and are borrowed here in the transaction of the claim that uses them, a hundredth of a second's worth at a
//! time; a lane without a permit is not asked again before it may have one, so that it costs nobody else anything. Pauses and
//! slow-downs live in rows too and are read once a second, so that all processes follow them; deferrals and refusals are
//! counted by each process for itself, from its start.

use std::collections::BTreeMap;
use std::time::Duration;

use super::alarm::Alarms;
use crate::domain::alarm::AlarmCause;
use crate::domain::breaker::{Destination, PauseCause, Trouble, Weight};
use crate::domain::limit::Accounts;
use crate::domain::slow_down::{Deferrals, Pace, Throttle};
use crate::runtime::Timestamp;
use crate::store::lanes::{self, LaneState};
use crate::store::{StoreError, Tx};

/// The lanes are looked at again after this time.
const LOOK: Duration = Duration::from_secs(1);

/// What this process may have in flight, by its config.
#[derive(Clone, Debug)]
pub struct Caps {
    /// Connections of all relays.
    pub connections: usize,
    /// Deliveries of a lane in flight at once, where the config says so.
    pub lanes: BTreeMap<i64, usize>,
}

impl Default for Caps {
    fn default() -> Caps {
        Caps { connections: 8, lanes: BTreeMap::new() }
    }
}

/// What was borrowed of a lane's or relay's limits.
#[derive(Clone, Debug, Default)]
struct Purse {
    stock: u64,
    unlimited: bool,
    /// Read and locked in this transaction.
    account: Option<Accounts>,
    dry: Option<Dry>,
}

/// Nothing is to be had from one instant to another. Before the first one the clock was set back, and all is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dry {
    since: Timestamp,
    until: Timestamp,
}

impl Dry {
    /// How much longer; `None`: it is over.
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        (self.since <= now && now < self.until).then(|| self.until.since(now))
    }
}

#[derive(Clone, Debug)]
struct Lane {
    name: String,
    limited: bool,
    paused: bool,
    pace: Pace,
    due: Option<i64>,
    in_flight: usize,
    purse: Purse,
    deferrals: Deferrals,
    destination: Destination,
}

/// What one attempt showed about its lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub lane: i64,
    pub edition: Option<i64>,
    pub subscriber: Option<i64>,
    pub weight: Weight,
    pub throttle: Option<Throttle>,
    /// Somebody of the house was to get it.
    pub house: bool,
}

impl Seen {
    /// Whether it may stop or slow down something. Everything else is only counted.
    pub fn is_bad(&self) -> bool {
        self.throttle.is_some() || self.weight.hard || self.weight.policy || self.weight.content
    }
}

/// Something that an operator has to know, once what caused it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Quiet { lane: String },
    Slower { lane: String, width: u32 },
    Paused { lane: String, trouble: Trouble },
    Stopped { edition: String, reason: String },
}

impl News {
    /// Into the log. What needs somebody is an alarm too; an edition that waits for a word is found by who watches for them.
    pub fn tell(&self, alarms: &Alarms, now: Timestamp) {
        match self {
            News::Quiet { lane } => {
                alarms.raise(AlarmCause::LaneQuiet, lane, &"the provider says that it is too much", now);
                tracing::warn!(%lane, "the provider says too much: nothing leaves by this lane for ten minutes");
            }
            News::Slower { lane, width } => {
                tracing::warn!(%lane, width, "the provider defers: the lane is slowed down to so many connections");
            }
            News::Paused { lane, trouble } => {
                alarms.raise(AlarmCause::LanePaused, lane, trouble, now);
                let how = match trouble.cause() {
                    PauseCause::FalseBounces => " --believe` or `--forget` says what its bounces were, and",
                    _ => "`",
                };
                tracing::warn!(%lane, %trouble, "editions stop leaving by this lane; `tidings lanes resume {lane}{how} lets them go on");
            }
            News::Stopped { edition, reason } => {
                tracing::warn!(%edition, %reason, "the edition stops here; `tidings editions resume {edition}` goes on");
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Traffic {
    caps: Caps,
    lanes: BTreeMap<i64, Lane>,
    relays: BTreeMap<i64, Purse>,
    looked_at: Option<Timestamp>,
    /// Lanes of one rank take turns.
    turn: usize,
}

impl Traffic {
    pub fn new(caps: Caps) -> Traffic {
        Traffic { caps, ..Traffic::default() }
    }

    /// Whether the lanes were looked at long ago.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.looked_at.is_none_or(|at| at > now || now.since(at) >= LOOK)
    }

    /// Locks the lanes that this transaction may change, before any of them is: those that something bad was seen of, and where
    /// something is claimed and it is due, those that recover. Answers whether the lanes were looked at.
    pub async fn lock(
        &mut self,
        tx: &mut Tx,
        bad: impl Iterator<Item = &Seen>,
        claims: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let bad: Vec<i64> = bad.map(|seen| seen.lane).collect();
        let looks = claims && self.is_stale(now);
        match looks {
            true => self.look(tx, &bad, now).await?,
            false => lanes::lock(tx, bad).await?,
        }
        Ok(looks)
    }

    /// Reads which lanes have rows and what slows them down, locks those that may change in this transaction (`bad` ones, and those
    /// of which a step of recovery is due), and takes these steps.
    async fn look(&mut self, tx: &mut Tx, bad: &[i64], now: Timestamp) -> Result<(), StoreError> {
        self.read(tx, now).await?;
        let fulls: Vec<(i64, u32)> = self.lanes.keys().map(|id| (*id, self.full(*id))).collect();
        let mut recovered = Vec::new();
        for (id, full) in fulls {
            if let Some(lane) = self.lanes.get_mut(&id)
                && lane.pace.recover(full, now)
            {
                recovered.push((id, full));
            }
        }
        lanes::lock(tx, recovered.iter().map(|(id, _)| id).chain(bad).copied()).await?;
        for (id, full) in recovered {
            if let Some(lane) = self.lanes.get_mut(&id) {
                // Others may have changed it since it was read.
                lane.pace = lanes::pace(tx, id).await?;
                if lane.pace.recover(full, now) {
                    lanes::set_pace(tx, id, &lane.pace).await?;
                }
            }
        }
        // Another process may have been started with limits that this one was started without.
        self.relays.values_mut().for_each(|purse| purse.unlimited = false);
        self.looked_at = Some(now);
        Ok(())
    }

    /// Reads which lanes have rows and what slows them down.
    pub async fn read(&mut self, tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
        for state in lanes::states(tx, now).await? {
            let LaneState { id, name, limited, paused, paused_by: _, pace, due } = state;
            let lane = self.lanes.entry(id).or_insert_with(|| Lane::new(&name));
            lane.limited = limited;
            lane.paused = paused.is_some();
            lane.pace = pace;
            lane.due = due;
        }
        Ok(())
    }

    /// The lanes from which something may be claimed: those with desk mail first, then those with notices, then editions.
    pub fn candidates(&mut self, now: Timestamp) -> Vec<i64> {
        // What an earlier transaction has read is another process's by now.
        self.lanes.values_mut().for_each(|lane| lane.purse.account = None);
        let mut open: Vec<(i64, i64)> = self
            .lanes
            .iter()
            .filter_map(|(id, lane)| {
                let due = lane.due?;
                let room = self.room(*id, lane) > 0 && !(lane.limited && lane.purse.is_dry(now));
                (room && !lane.pace.is_quiet(now) && !(lane.paused && due >= 0)).then_some((due.min(0), *id))
            })
            .collect();
        if open.len() > 1 {
            self.turn = self.turn.wrapping_add(1);
            let by = self.turn % open.len();
            open.rotate_left(by);
            open.sort_by_key(|(rank, _)| *rank);
        }
        open.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether only desk mail may leave by it.
    pub fn is_paused(&self, lane: i64) -> bool {
        self.lanes.get(&lane).is_some_and(|lane| lane.paused)
    }

    /// Reads and locks the accounts from which something may have to be borrowed, in the order of their ids: two processes that
    /// lock in different orders wait for each other for ever.
    pub async fn open_accounts(
        &mut self,
        tx: &mut Tx,
        lanes: &[i64],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut ids: Vec<i64> = lanes.to_vec();
        ids.sort_unstable();
        for id in ids {
            if let Some(lane) = self.lanes.get_mut(&id)
                && lane.limited
                && lane.purse.has_to_borrow(now)
            {
                lane.purse.account = Some(lanes::accounts(tx, id).await?);
            }
        }
        Ok(())
    }

    /// How many of `wanted` may be claimed from this lane now. Borrows where nothing is left.
    pub async fn permits(
        &mut self,
        tx: &mut Tx,
        lane: i64,
        wanted: usize,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let full = self.full(lane);
        let Some(found) = self.lanes.get(&lane) else { return Ok(0) };
        let wanted = wanted.min(self.room(lane, found));
        let (limited, share) = (found.limited, found.pace.share(full));
        if !limited {
            return Ok(wanted);
        }
        let Some(found) = self.lanes.get_mut(&lane) else { return Ok(0) };
        found.purse.permits(tx, lane, wanted, share, now).await
    }

    /// How many of `wanted` a relay may be given now, at `share` thousandths of its rates. `None` is a relay that nobody limits.
    pub async fn relay_permits(
        &mut self,
        tx: &mut Tx,
        relay: Option<i64>,
        (wanted, share): (usize, u32),
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let Some(relay) = relay else { return Ok(wanted) };
        self.relays.entry(relay).or_default().permits(tx, relay, wanted, share, now).await
    }

    /// Notes what a claim took of its permits; fewer than `permitted` are all there were.
    pub fn claimed(&mut self, lane: i64, permitted: usize, taken: usize) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.purse.spend(taken);
            lane.in_flight += taken;
            if taken < permitted {
                lane.due = None;
            }
        }
    }

    /// A relay's permit was used.
    pub fn sent_by(&mut self, relay: Option<i64>) {
        if let Some(purse) = relay.and_then(|relay| self.relays.get_mut(&relay)) {
            purse.spend(1);
        }
    }

    pub fn came_back(&mut self, lane: i64) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
        }
    }

    /// Lanes that have no permit before that instant.
    pub fn dry(&self) -> BTreeMap<i64, Dry> {
        let dry = |lane: &Lane| lane.purse.dry.filter(|_| lane.limited && lane.purse.stock == 0);
        self.lanes.iter().filter_map(|(id, lane)| Some((*id, dry(lane)?))).collect()
    }

    /// Whether anything was borrowed and not used.
    pub fn has_left(&self) -> bool {
        let lanes = self.lanes.values().map(|lane| &lane.purse);
        lanes.chain(self.relays.values()).any(|purse| purse.stock > 0)
    }

    /// How long until a lane that has rows may have a permit again; `None`: there is nothing to wait for.
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        let waiting = self.lanes.values().filter(|lane| lane.limited && lane.due.is_some());
        waiting.filter_map(|lane| lane.purse.dry?.wait(now)).min()
    }

    pub fn relay_wait(&self, relay: Option<i64>, now: Timestamp) -> Duration {
        let dry = relay.and_then(|relay| self.relays.get(&relay)).and_then(|purse| purse.dry);
        dry.and_then(|dry| dry.wait(now)).unwrap_or(Duration::from_millis(1))
    }

    /// Counts an attempt that changes nothing.
    pub fn count(&mut self, seen: &Seen, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&seen.lane) {
            lane.destination.add(seen.weight, false, now);
        }
    }

    /// Weighs an attempt that may slow down or pause its lane; `known`: the recipient took mail before.
    pub async fn weigh(
        &mut self,
        tx: &mut Tx,
        seen: &Seen,
        known: bool,
        now: Timestamp,
    ) -> Result<Option<News>, StoreError> {
        let full = self.full(seen.lane);
        let Some(lane) = self.lanes.get_mut(&seen.lane) else { return Ok(None) };
        if let Some(throttle) = seen.throttle {
            return lane.throttled(tx, seen.lane, throttle, full, now).await;
        }
        let Some(trouble) = lane.destination.add(seen.weight, known, now) else { return Ok(None) };
        let newly = lanes::pause(tx, seen.lane, trouble.cause(), &trouble.to_string(), now).await?;
        lane.paused = true;
        Ok(newly.then(|| News::Paused { lane: lane.name.clone(), trouble }))
    }

    /// After a transaction that did not happen: nothing was borrowed, and what was read may be wrong.
    pub fn forget(&mut self) {
        let purses = self.lanes.values_mut().map(|lane| &mut lane.purse).chain(self.relays.values_mut());
        purses.for_each(|purse| *purse = Purse::default());
        self.looked_at = None;
    }

    /// Gives back what was borrowed and not used.
    pub async fn give_back(&mut self, tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
        let relays = self.relays.iter_mut().map(|(id, purse)| (*id, purse));
        for (id, purse) in relays.chain(self.lanes.iter_mut().map(|(id, lane)| (*id, &mut lane.purse))) {
            let left = std::mem::take(purse).stock;
            if left > 0 {
                let mut accounts = lanes::accounts(tx, id).await?;
                accounts.give_back(left, now);
                lanes::set_accounts(tx, id, &accounts).await?;
            }
        }
        Ok(())
    }

    fn full(&self, lane: i64) -> u32 {
        let cap = self.caps.lanes.get(&lane).copied().unwrap_or(self.caps.connections);
        u32::try_from(cap.min(self.caps.connections)).unwrap_or(u32::MAX).max(1)
    }

    /// Deliveries that may be in flight beside those that are.
    fn room(&self, id: i64, lane: &Lane) -> usize {
        if lane.pace.width.is_none() && !self.caps.lanes.contains_key(&id) {
            return usize::MAX;
        }
        (lane.pace.width(self.full(id)) as usize).saturating_sub(lane.in_flight)
    }
}

impl Lane {
    fn new(name: &str) -> Lane {
        Lane {
            name: name.to_owned(),
            limited: false,
            paused: false,
            pace: Pace::default(),
            due: None,
            in_flight: 0,
            purse: Purse::default(),
            deferrals: Deferrals::default(),
            destination: Destination::default(),
        }
    }

    async fn throttled(
        &mut self,
        tx: &mut Tx,
        id: i64,
        throttle: Throttle,
        full: u32,
        now: Timestamp,
    ) -> Result<Option<News>, StoreError> {
        // Another process may have slowed it down since, or an operator let it go on.
        self.pace = lanes::pace(tx, id).await?;
        let before = self.pace;
        let enough = self.deferrals.note(now);
        let news = match throttle {
            Throttle::Silence => {
                let first = !self.pace.is_quiet(now);
                self.pace.silence(now);
                first.then(|| News::Quiet { lane: self.name.clone() })
            }
            // One that was under way when the silence began says nothing new.
            Throttle::Slower if self.pace.is_quiet(now) => None,
            Throttle::Slower if enough => {
                self.pace.halve(full, now);
                Some(News::Slower { lane: self.name.clone(), width: self.pace.width(full) })
            }
            Throttle::Slower => {
                self.pace.touched(now);
                None
            }
        };
        if self.pace != before {
            lanes::set_pace(tx, id, &self.pace).await?;
        }
        Ok(news)
    }
}

impl Purse {
    fn is_dry(&self, now: Timestamp) -> bool {
        self.stock == 0 && self.dry.is_some_and(|dry| dry.wait(now).is_some())
    }

    fn has_to_borrow(&self, now: Timestamp) -> bool {
        self.stock == 0 && !self.is_dry(now)
    }

    fn spend(&mut self, count: usize) {
        self.stock = self.stock.saturating_sub(count as u64);
    }

    async fn permits(
        &mut self,
        tx: &mut Tx,
        id: i64,
        wanted: usize,
        share: u32,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        if self.unlimited {
            return Ok(wanted);
        }
        let opened = self.account.take();
        if wanted > 0 && self.has_to_borrow(now) {
            let mut accounts = match opened {
                Some(accounts) => accounts,
                None => lanes::accounts(tx, id).await?,
            };
            if accounts.is_unlimited() {
                self.unlimited = true;
                return Ok(wanted);
            }
            let ahead = accounts.chunk().max(wanted as u64);
            match accounts.borrow(ahead, share, now) {
                Ok(count) => (self.stock, self.dry) = (count, None),
                Err(wait) => self.dry = Some(Dry { since: now, until: now + wait }),
            }
            lanes::set_accounts(tx, id, &accounts).await?;
        }
        Ok(wanted.min(usize::try_from(self.stock).unwrap_or(usize::MAX)))
    }
}
