//! The client table: what each client has asked for and been given lately, in bounded memory.
//!
//! The table is *set-associative*, like a processor's cache: a client's keyed hash names one bucket
//! of eight places, and a new name evicts the quietest newcomer of its bucket, or a known client that
//! has been silent for long. Memory is therefore fixed when the table is made, and no flood of forged
//! names can make it grow, rehash or scan, or push out anybody known. A name that finds no place
//! shares one of a fixed number of accounts with others of its hash.
//!
//! Where the table is larger than the caches, a look-up costs what its misses cost. The hash also
//! says at which place of the bucket to begin, and an account is one cache line that begins with the
//! hash of its client: as long as the table is half empty, most are found in the first line read.

use super::Seconds;
use super::fair::Group;
use super::memory;
use super::naming::ClientKey;

/// Places in a bucket.
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
    /// Hash of the client whose account this is; 0 where nobody has it.
    tag: u64,
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

/// Accounts whose clients' hashes have the same low bits. They are taken in the order of the search
/// and never given back, so that a search may end at the first empty one.
type Bucket = [Account; WAYS];

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
            buckets: memory::filled(buckets, Bucket::default()),
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
        let tag = tag(key);
        let bucket = &mut self.buckets[index];
        let found = places(key).find(|&way| bucket[way].tag == tag || bucket[way].tag == 0);
        let way = match found {
            Some(way) if bucket[way].tag == tag => {
                bucket[way].decay_to(now);
                return (ClientRef((index * WAYS + way) as u32), false);
            }
            Some(way) => {
                self.known += 1;
                way
            }
            None => match quietest(bucket, now) {
                Some(way) => way,
                None => return self.share(key, now),
            },
        };
        bucket[way] = Account {
            tag,
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
        &mut self.buckets[place / WAYS][place % WAYS]
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

/// What stands in an account for its client. An empty one has 0.
fn tag(key: ClientKey) -> u64 {
    key.hash.max(1)
}

/// The places of a bucket in the order in which a client is looked for.
fn places(key: ClientKey) -> impl Iterator<Item = usize> {
    let first = (key.hash >> (u64::BITS - WAYS.ilog2())) as usize;
    (0..WAYS).map(move |step| first ^ step)
}

/// The place whose client asked least lately, among those with nothing outstanding. Newcomers go
/// first, and a known client only after a silence.
fn quietest(accounts: &Bucket, now: Seconds) -> Option<usize> {
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
    fn whoever_has_a_place_is_found_there() {
        let mut table = ClientTable::new(512);
        let hasher = ClientHasher::default();
        let keys: Vec<_> = (0u16..512).map(|n| hasher.key(&n.to_le_bytes())).collect();
        let mut places = Vec::new();
        for &key in &keys {
            let (client, new) = table.open(key, 1.0);
            table.account(client).outstanding = 1;
            if (client.0 as usize) < table.buckets.len() * WAYS {
                assert!(new);
                places.push((key, client));
            }
        }
        assert_eq!(places.len(), table.len());
        assert!(places.len() > 400, "{}", places.len());
        for (key, client) in places.into_iter().rev() {
            assert_eq!(table.open(key, 1.0), (client, false));
        }
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
