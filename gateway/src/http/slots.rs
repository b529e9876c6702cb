//! The connections that may be open: so many in all, so many from one address, and a few more that may only ask how the
//! gateway is.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Connections beside those that may be open at once, for health checks and metrics.
const RESERVE: usize = 32;

/// The files that the process may open for everything that is no connection.
const OTHER_FILES: usize = 256;

/// Decides about connections.
#[derive(Debug)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    by_address: Option<ByAddress>,
    /// Of the reserve, the oldest first: ended to make room for another.
    reserved: VecDeque<oneshot::Sender<()>>,
    gauge: IntGauge,
}

#[derive(Clone, Debug)]
struct ByAddress {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One open connection. Dropping it frees its slot.
#[derive(Debug)]
pub(super) struct Slot {
    gauge: IntGauge,
    _permit: Option<OwnedSemaphorePermit>,
    address: Option<(ByAddress, IpAddr)>,
    /// Ends with an error where a connection of the reserve has to make room.
    pub(super) reserved: Option<oneshot::Receiver<()>>,
}

impl Slots {
    /// `per_address` is how many may come from one address; 0 is any number.
    pub(super) fn new(most: usize, per_address: usize, gauge: IntGauge) -> Self {
        let most = most.min(files().saturating_sub(OTHER_FILES + RESERVE).max(1));
        let by_address = (per_address > 0).then(|| ByAddress { most: per_address, open: Arc::default() });
        Self {
            free: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            by_address,
            reserved: VecDeque::new(),
            gauge,
        }
    }

    /// A slot for a connection from there; `None` where too many come from there.
    pub(super) fn take(&mut self, peer: SocketAddr) -> Option<Slot> {
        let address = match &self.by_address {
            Some(by_address) => {
                let network = network(peer.ip());
                if !by_address.enter(network) {
                    return None;
                }
                Some((by_address.clone(), network))
            }
            None => None,
        };
        let permit = Arc::clone(&self.free).try_acquire_owned().ok();
        let reserved = permit.is_none().then(|| self.reserve());
        self.gauge.inc();
        Some(Slot { gauge: self.gauge.clone(), _permit: permit, address, reserved })
    }

    fn reserve(&mut self) -> oneshot::Receiver<()> {
        self.reserved.retain(|connection| !connection.is_closed());
        if self.reserved.len() >= RESERVE {
            self.reserved.pop_front();
        }
        let (connection, end) = oneshot::channel();
        self.reserved.push_back(connection);
        end
    }
}

impl ByAddress {
    fn enter(&self, address: IpAddr) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        // An entry that was made just now counts none, so that there is room for one.
        let fits = *count < self.most;
        *count += usize::from(fits);
        fits
    }

    fn leave(&self, address: IpAddr) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.gauge.dec();
        if let Some((by_address, address)) = &self.address {
            by_address.leave(*address);
        }
    }
}

/// Clients of IPv6 have a network of 2⁶⁴ addresses each.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// The number of files that the process may open. Raises it as far as it may itself.
fn files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let most = if raised.is_ok() { limit.maximum } else { limit.current };
    most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().expect("an address"), 1)
    }

    fn slots(most: usize, per_address: usize) -> Slots {
        Slots::new(most, per_address, IntGauge::new("open", "open").expect("a gauge"))
    }

    #[test]
    fn one_address_takes_no_more_than_its_share() {
        let mut slots = slots(100, 2);
        let first = slots.take(peer("2001:db8::1")).expect("a slot");
        let _second = slots.take(peer("2001:db8::2")).expect("a slot");
        assert!(slots.take(peer("2001:db8::3")).is_none(), "the same network");
        let _other = slots.take(peer("192.0.2.1")).expect("another address");
        drop(first);
        slots.take(peer("2001:db8::3")).expect("a slot is free again");
    }

    #[test]
    fn the_reserve_makes_room_for_the_newest() {
        let mut slots = slots(1, 0);
        let first = slots.take(peer("192.0.2.1")).expect("a slot");
        assert!(first.reserved.is_none());
        let mut reserved: Vec<_> = (0..=RESERVE).map(|_| slots.take(peer("192.0.2.1")).expect("a slot")).collect();
        let mut is_ended = |slot: usize| {
            let end = reserved[slot].reserved.as_mut().expect("of the reserve");
            end.try_recv() == Err(oneshot::error::TryRecvError::Closed)
        };
        assert_eq!((is_ended(0), is_ended(1), is_ended(RESERVE)), (true, false, false));
        drop((first, reserved));
        assert_eq!(slots.gauge.get(), 0);
        assert!(slots.take(peer("192.0.2.1")).expect("a slot").reserved.is_none());
    }
}
