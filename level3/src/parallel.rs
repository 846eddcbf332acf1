//! Work on many items by several threads for the time of one call.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Calls `work` for every item, on up to `threads` threads of which the caller's is one. Each has
/// a state of its own, made by `state`; a thread takes the next item when it is done with one.
///
/// Returns the results in the order of the items, and the states, the caller's first. After an
/// error no further item is begun, and one of the errors is returned. A panic goes on in the
/// caller's thread.
pub(crate) fn map<T: Sync, S: Send, R: Send, E: Send>(
    items: &[T],
    threads: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> Result<R, E> + Sync,
) -> Result<(Vec<R>, Vec<S>), E> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let run = || {
        let mut state = state();
        let mut results = Vec::new();
        // Relaxed: stopping late only wastes work.
        while !failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { break };
            match work(&mut state, item) {
                Ok(result) => results.push((at, result)),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok((results, state))
    };
    let helpers = threads.min(items.len()).saturating_sub(1);
    let ended: Vec<_> = if helpers == 0 {
        vec![run()]
    } else {
        thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(run)).collect();
            let mine = run();
            let theirs = helpers.into_iter().map(|helper| {
                let joined = helper.join();
                joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            std::iter::once(mine).chain(theirs).collect()
        })
    };
    let (mut results, mut states) = (Vec::with_capacity(items.len()), Vec::new());
    for part in ended {
        let (part, state) = part?;
        results.extend(part);
        states.push(state);
    }
    results.sort_unstable_by_key(|&(at, _)| at);
    Ok((
        results.into_iter().map(|(_, result)| result).collect(),
        states,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for threads in [0, 1, 3, 100] {
            let items: Vec<u32> = (0..50).collect();
            let count = |seen: &mut u32, item: &u32| {
                *seen += 1;
                Ok::<u32, ()>(item * 2)
            };
            let (results, seen) = map(&items, threads, || 0, count).unwrap();
            assert_eq!(
                results,
                items.iter().map(|item| item * 2).collect::<Vec<_>>()
            );
            assert_eq!(seen.iter().sum::<u32>(), 50);
        }
    }

    #[test]
    fn an_error_ends_the_work() {
        let items: Vec<u32> = (0..1000).collect();
        let work = |(): &mut (), &item: &u32| if item == 7 { Err(item) } else { Ok(item) };
        assert_eq!(map(&items, 2, || (), work), Err(7));
    }

    #[test]
    fn a_panic_of_a_helper_reaches_the_caller() {
        let items: Vec<u32> = (0..100).collect();
        let work = |(): &mut (), item: &u32| {
            assert_ne!(*item, 50, "on purpose");
            Ok::<(), ()>(())
        };
        let caught = std::panic::catch_unwind(|| map(&items, 3, || (), work));
        assert!(caught.is_err());
    }
}
