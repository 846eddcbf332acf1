//! The client table: what each client has asked for and been given lately, in bounded memory.
//!
//! The table is *set-associative*, like a processor's cache: a client's keyed hash names one bucket
//! of eight places, and a newcomer takes the quietest place of its bucket. Memory is therefore fixed
//! when the table is made, a look-up touches one line of tags and one of accounts, and no flood of
//! forged names can make it grow, rehash or scan. A name seen once is quieter than any name that
//! came back, so forged names push out one another and not the regulars.

use std::hash::{BuildHasher, RandomState};

use super::Seconds;

/// Places in a bucket: eight tags of eight bytes fill one cache line.
const WAYS: usize = 8;

/// Time after which half of what a client asked for or was given is forgotten.
///
/// Short enough that a client which stops flooding is trusted again within seconds, long enough
/// that a flood cannot hide in pauses of a few hundred milliseconds.
pub const HALF_LIFE: Seconds = 1.0;

/// The mean life of a remembered request: half-life / ln 2.
pub const MEAN_LIFE: Seconds = HALF_LIFE / std::f64::consts::LN_2;

/// What is remembered of one client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// Requests made, decayed.
    pub requests: f32,
    /// Service received, in seconds, decayed.
    pub served: f32,
    /// Requests waiting or in service now. An account is not evicted while it is above 0.
    pub outstanding: u32,
    updated: Seconds,
}

impl Account {
    fn decay_to(&mut self, now: Seconds) {
        let factor = decay(now - self.updated) as f32;
        self.requests *= factor;
        self.served *= factor;
        self.updated = now;
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

#[derive(Clone, Debug)]
#[repr(align(64))]
struct Bucket {
    /// Hash of the client in each place; 0 is an empty place.
    tags: [u64; WAYS],
    accounts: [Account; WAYS],
}

const EMPTY: Bucket = Bucket {
    tags: [0; WAYS],
    accounts: [Account {
        requests: 0.0,
        served: 0.0,
        outstanding: 0,
        updated: 0.0,
    }; WAYS],
};

/// Where a client's account lies. Stays valid while the account has something outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRef(u32);

/// A client's identity: the keyed hash of its name.
///
/// Names are not stored; two names of one table share a hash with a chance of about
/// (clients / 2^32)^2, and the key is drawn at start so that nobody can aim for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey(u64);

/// Turns names into [`ClientKey`]s, with a secret drawn when it is made.
#[derive(Clone, Debug, Default)]
pub struct ClientHasher(RandomState);

impl ClientHasher {
    /// The key of a client's name, which may be any bytes.
    pub fn key(&self, name: &[u8]) -> ClientKey {
        ClientKey(self.0.hash_one(name).max(1))
    }
}

/// All known clients. See the module's documentation.
#[derive(Debug)]
pub struct ClientTable {
    buckets: Vec<Bucket>,
    known: usize,
}

impl ClientTable {
    /// A table for `clients` clients, rounded up to a full number of buckets (a power of two).
    pub fn new(clients: usize) -> Self {
        let buckets = clients.div_ceil(WAYS).next_power_of_two();
        Self {
            buckets: vec![EMPTY; buckets],
            known: 0,
        }
    }

    /// Finds or makes the account of a client and brings it up to date.
    ///
    /// The flag says whether the client was unknown. `None`: unknown, and every place of its bucket
    /// is held by a client with requests outstanding.
    pub fn open(&mut self, key: ClientKey, now: Seconds) -> Option<(ClientRef, bool)> {
        let index = (key.0 as usize) & (self.buckets.len() - 1);
        let bucket = &mut self.buckets[index];
        if let Some(way) = bucket.tags.iter().position(|&tag| tag == key.0) {
            bucket.accounts[way].decay_to(now);
            return Some((ClientRef((index * WAYS + way) as u32), false));
        }
        let way = match bucket.tags.iter().position(|&tag| tag == 0) {
            Some(way) => {
                self.known += 1;
                way
            }
            None => quietest(&bucket.accounts, now)?,
        };
        bucket.tags[way] = key.0;
        bucket.accounts[way] = Account {
            updated: now,
            ..Account::default()
        };
        Some((ClientRef((index * WAYS + way) as u32), true))
    }

    /// The account behind a reference.
    pub fn account(&mut self, client: ClientRef) -> &mut Account {
        let place = client.0 as usize;
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

/// The place whose client asked least lately, among those with nothing outstanding.
fn quietest(accounts: &[Account; WAYS], now: Seconds) -> Option<usize> {
    (0..WAYS)
        .filter(|&way| accounts[way].outstanding == 0)
        .map(|way| (way, accounts[way].weight_at(now)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(way, _)| way)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_decay_by_half_in_a_half_life() {
        let mut table = ClientTable::new(8);
        let key = ClientHasher::default().key(b"somebody");
        let (client, new) = table.open(key, 0.0).unwrap();
        assert!(new);
        table.account(client).requests = 8.0;
        let (client, new) = table.open(key, 2.0 * HALF_LIFE).unwrap();
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
                let (client, new) = table.open(regular, now).unwrap();
                assert_eq!(new, n == 0);
                table.account(client).requests += 3.0;
            }
            let (client, _) = table.open(hasher.key(&n.to_le_bytes()), now).unwrap();
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
            let (client, _) = table.open(hasher.key(&[n]), 0.0).unwrap();
            table.account(client).outstanding = 1;
        }
        assert!(table.open(hasher.key(b"one more"), 0.0).is_none());
        let (client, new) = table.open(hasher.key(&[3]), 0.0).unwrap();
        assert!(!new);
        table.account(client).outstanding = 0;
        assert!(table.open(hasher.key(b"one more"), 0.0).is_some());
    }
}
