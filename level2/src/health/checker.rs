//! What the checks of one backend show, taken together. A pure value.
//!
//! There are two kinds of looks: the *check* proper (a request for `--health PATH`, or a connection where
//! there is no path), and a mere connection at once when some request could not reach a backend. Where
//! there is a path, a connection that succeeds says nothing: a sick backend accepts connections too.

/// Failed requests in a row that make a backend down; of failed connections, one is enough.
const FAILURES: u32 = 2;

/// What one look at a backend has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The check succeeded.
    Well,
    /// A connection could be made, and there is more to ask for.
    Reached,
    /// No connection could be made; why.
    Unreachable(String),
    /// It can be reached, but does not answer well; how.
    Unwell(String),
    /// The proxy itself had no means to find out.
    Unknown,
}

/// What a backend's checks have shown so far.
#[derive(Debug, Default)]
pub struct Checker {
    /// Failures in a row that are not passed on yet.
    failures: u32,
}

impl Checker {
    /// A look found this. Says whether the backend is fit, or why it is not, if that is known now.
    pub fn judge(&mut self, found: Found) -> Option<Result<(), String>> {
        let verdict = match found {
            Found::Well => Ok(()),
            Found::Unreachable(why) => Err(why),
            Found::Unwell(why) => {
                self.failures += 1;
                if self.failures < FAILURES {
                    return None;
                }
                Err(why)
            }
            Found::Reached | Found::Unknown => return None,
        };
        self.failures = 0;
        Some(verdict)
    }

    /// Whether the last check failed, and the next one decides.
    pub fn doubts(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_prove_nothing_for_a_backend_that_answers_badly() {
        let sick = || Found::Unwell("503".into());
        let mut checker = Checker::default();
        assert_eq!(checker.judge(sick()), None);
        assert!(checker.doubts());
        // Others could not reach a backend in between, and this one was called.
        assert_eq!(checker.judge(Found::Reached), None);
        assert!(checker.doubts());
        assert_eq!(checker.judge(sick()), Some(Err("503".into())));
        assert_eq!(checker.judge(Found::Reached), None);
        assert_eq!(checker.judge(Found::Well), Some(Ok(())));
    }

    #[test]
    fn one_failed_call_is_enough_and_a_shortage_of_the_proxy_is_no_failure() {
        let mut checker = Checker::default();
        assert_eq!(checker.judge(Found::Unknown), None);
        let refused = Found::Unreachable("refused".into());
        assert_eq!(checker.judge(refused), Some(Err("refused".into())));
        assert!(!checker.doubts());
    }
}
