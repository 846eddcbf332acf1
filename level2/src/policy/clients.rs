//! The client table: what each client has asked for and been given lately, in bounded memory.
//!
//! The table is *set-associative*, like a processor's cache: a client's keyed hash names one bucket
//! of eight places, and a new name evicts the quietest newcomer of its bucket, or a known client that
//! has been silent for long. Memory is therefore fixed when the table is made, and no flood of forged
//! names can make it grow, rehash or scan, or push out anybody known. A name that finds no place
//! shares one of a fixed number of accounts with others of its hash.

use super::Seconds;
use super::fair::Group;
use super::naming::ClientKey;

/// Places in a bucket: eight tags of eight bytes fill one cache line.
const WAYS: usize = 8;

/// Accounts that clients share for whom the table has no place (stochastic fair queueing).
const SHARED: usize = 1024;

/// Silence after which a known client may be forgotten in favour of a newcomer.
const FORGET_AFTER: Seconds = 60.0;

/// Time after which half of what was counted lately is forgotten.
pub const HALF_LIFE: Seconds = 1.0;

/// The mean life of a remembered request: half-life / ln 2.
pub const MEAN_LIFE: Seconds = HALF_LIFE / std::f64::consts::LN_2;

/// What is remembered of one client, in one line of a cache.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub struct Account {
    /// Finish tag, on the clock of its group.
    pub finish: Seconds,
    /// When it was first seen.
    pub born: Seconds,
    /// When it was last seen.
    pub seen: Seconds,
    /// How far its asking is ahead of its finish tag: what it was not given.
    pub lead: f32,
    /// Mean service time of its requests; 0 while unknown.
    pub cost: f32,
    /// Requests made, decayed.
    pub requests: f32,
    /// What is left of its last being counted among the active clients: 1 when it was just counted.
    pub counted: f32,
    /// Requests waiting or in service now. An account is not evicted while it is above 0.
    pub outstanding: u32,
    /// When its fixed limit will have forgotten all its requests (the generic cell rate algorithm).
    pub limited_until: Seconds,
    /// Where it competes.
    pub group: Group,
    /// Whether none of its requests was admitted yet.
    pub fresh: bool,
}

impl Account {
    fn decay_to(&mut self, now: Seconds) {
        let left = decay(now - self.seen) as f32;
        self.requests *= left;
        self.counted *= left;
        self.seen = now;
    }

    /// How much a newcomer should hesitate to take this account's place.
    fn weight_at(mut self, now: Seconds) -> f32 {
        self.decay_to(now);
        self.requests
    }
}

/// What is left of a remembered amount after `age`.
pub fn decay(age: Seconds) -> f64 {
    (-age / HALF_LIFE).exp2()
}

#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Bucket {
    /// Hash of the client in each place; 0 is an empty place.
    tags: [u64; WAYS],
    accounts: [Account; WAYS],
}

/// Where a client's account lies. Stays valid while the account has something outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRef(u32);

/// All known clients. See the module's documentation.
#[derive(Debug)]
pub struct ClientTable {
    buckets: Vec<Bucket>,
    shared: Vec<Account>,
    known: usize,
}

impl ClientTable {
    /// A table for `clients` clients, rounded up to a full number of buckets (a power of two).
    pub fn new(clients: usize) -> Self {
        let buckets = clients.div_ceil(WAYS).next_power_of_two();
        Self {
            buckets: vec![Bucket::default(); buckets],
            shared: vec![Account::default(); SHARED],
            known: 0,
        }
    }

    /// Finds or makes the account of a client and brings it up to date.
    ///
    /// The flag says whether the client was unknown. When every place of its bucket is held by
    /// somebody better known, it shares an account with others of its hash.
    pub fn open(&mut self, key: ClientKey, now: Seconds) -> (ClientRef, bool) {
        let index = (key.hash as usize) & (self.buckets.len() - 1);
        let bucket = &mut self.buckets[index];
        if let Some(way) = bucket.tags.iter().position(|&tag| tag == key.hash) {
            bucket.accounts[way].decay_to(now);
            return (ClientRef((index * WAYS + way) as u32), false);
        }
        let way = match bucket.tags.iter().position(|&tag| tag == 0) {
            Some(way) => {
                self.known += 1;
                way
            }
            None => match quietest(&bucket.accounts, now) {
                Some(way) => way,
                None => return self.share(key, now),
            },
        };
        bucket.tags[way] = key.hash;
        bucket.accounts[way] = Account {
            born: now,
            seen: now,
            ..Account::default()
        };
        (ClientRef((index * WAYS + way) as u32), true)
    }

    /// The account that a client without one of its own shares.
    fn share(&mut self, key: ClientKey, now: Seconds) -> (ClientRef, bool) {
        let place = (key.hash >> 32) as usize % SHARED;
        let account = &mut self.shared[place];
        let new = account.seen == 0.0;
        account.decay_to(now);
        // It never grows old: whoever shares stays a newcomer.
        account.born = now;
        (ClientRef((self.buckets.len() * WAYS + place) as u32), new)
    }

    /// The account behind a reference.
    pub fn account(&mut self, client: ClientRef) -> &mut Account {
        let place = client.0 as usize;
        if place >= self.buckets.len() * WAYS {
            return &mut self.shared[place - self.buckets.len() * WAYS];
        }
        &mut self.buckets[place / WAYS].accounts[place % WAYS]
    }

    /// Clients known now.
    pub fn len(&self) -> usize {
        self.known
    }

    /// Bytes the table takes, full or empty.
    pub fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }
}

/// The place whose client asked least lately, among those with nothing outstanding. Newcomers go
/// first, and a known client only after a silence.
fn quietest(accounts: &[Account; WAYS], now: Seconds) -> Option<usize> {
    (0..WAYS)
        .filter(|&way| {
            let account = &accounts[way];
            account.outstanding == 0
                && (account.group == Group::Newcomer || now - account.seen > FORGET_AFTER)
        })
        .map(|way| (way, accounts[way]))
        .min_by(|(_, a), (_, b)| {
            let known = |account: &Account| account.group == Group::Known;
            let groups = known(a).cmp(&known(b));
            groups.then(a.weight_at(now).total_cmp(&b.weight_at(now)))
        })
        .map(|(way, _)| way)
}

#[cfg(test)]
mod tests {
    use super::super::naming::ClientHasher;
    use super::*;

    #[test]
    fn accounts_decay_by_half_in_a_half_life() {
        let mut table = ClientTable::new(8);
        let key = ClientHasher::default().key(b"somebody");
        let (client, new) = table.open(key, 0.0);
        assert!(new);
        table.account(client).requests = 8.0;
        let (client, new) = table.open(key, 2.0 * HALF_LIFE);
        assert!(!new);
        let left = table.account(client).requests;
        assert!((left - 2.0).abs() < 0.02, "{left}");
    }

    #[test]
    fn forged_names_push_out_each_other_and_not_a_regular() {
        let mut table = ClientTable::new(1024);
        let size = table.bytes();
        let hasher = ClientHasher::default();
        let regular = hasher.key(b"regular");
        for n in 0u32..1_000_000 {
            let now = f64::from(n) * 1e-5;
            if n % 50_000 == 0 {
                let (client, new) = table.open(regular, now);
                assert_eq!(new, n == 0);
                table.account(client).requests += 3.0;
            }
            let (client, _) = table.open(hasher.key(&n.to_le_bytes()), now);
            table.account(client).requests += 1.0;
        }
        assert_eq!(table.bytes(), size);
        assert!(table.len() <= 1024);
    }

    #[test]
    fn a_client_with_something_outstanding_keeps_its_place() {
        let mut table = ClientTable::new(8);
        let hasher = ClientHasher::default();
        for n in 0u8..8 {
            let (client, _) = table.open(hasher.key(&[n]), 0.0);
            table.account(client).outstanding = 1;
        }
        let (shared, _) = table.open(hasher.key(b"one more"), 0.0);
        assert!(shared.0 >= 8, "{shared:?}");
        let (client, new) = table.open(hasher.key(&[3]), 0.0);
        assert!(!new);
        table.account(client).outstanding = 0;
        let (own, new) = table.open(hasher.key(b"one more"), 0.0);
        assert!(new && own.0 < 8, "{own:?}");
    }

    #[test]
    fn a_known_client_is_forgotten_only_after_a_silence() {
        let mut table = ClientTable::new(8);
        let hasher = ClientHasher::default();
        for n in 0u8..8 {
            let (client, _) = table.open(hasher.key(&[n]), 0.0);
            table.account(client).group = Group::Known;
        }
        let (shared, _) = table.open(hasher.key(b"newcomer"), FORGET_AFTER);
        assert!(shared.0 >= 8, "{shared:?}");
        let (own, new) = table.open(hasher.key(b"newcomer"), FORGET_AFTER + 1.0);
        assert!(new && own.0 < 8, "{own:?}");
    }
}
