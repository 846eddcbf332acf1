//! What becomes of a node as monkeys freeze and kill it: a value without a process, so that tests
//! drive it in virtual time.
//!
//! Freezes and kills are counted, as several monkeys may have their hands on one node: it runs
//! again only when both counts are back at 0.

use super::NodeState;

/// What is to be done to a node's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Nothing: it is in the right state already.
    Nothing,
    /// Stop it.
    Stop,
    /// Let it go on.
    Continue,
    /// Kill it.
    Kill,
    /// Start it.
    Launch,
    /// Ask it to end.
    Ask,
    /// Kill what has not ended although it was asked to, and start it.
    Relaunch,
}

/// The counts of a node, and what its process does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lifecycle {
    freezes: u32,
    kills: u32,
    has_process: bool,
    /// It was asked to end, and has not yet.
    ending: bool,
    /// It ended by itself; nothing brings it back.
    exited: bool,
    /// How often it was started.
    incarnation: u64,
    /// How often it was killed.
    killed: u64,
}

impl Lifecycle {
    /// It is started for the first time.
    pub fn start(&mut self) -> Deed {
        self.run_again()
    }

    /// Stops it once more.
    pub fn freeze(&mut self) -> Deed {
        self.freezes += 1;
        if self.freezes == 1 && self.has_process && !self.exited {
            Deed::Stop
        } else {
            Deed::Nothing
        }
    }

    /// Takes one freeze back.
    pub fn thaw(&mut self) -> Deed {
        if self.freezes == 0 {
            return Deed::Nothing;
        }
        self.freezes -= 1;
        self.run_again()
    }

    /// Kills it once more.
    pub fn kill(&mut self) -> Deed {
        self.kills += 1;
        // One that ended by itself, just before, stays that way: it must not be hidden.
        if !self.has_process || self.exited {
            return Deed::Nothing;
        }
        self.has_process = false;
        self.ending = false;
        self.killed += 1;
        Deed::Kill
    }

    /// Asks it to end; counts as a kill.
    pub fn shut_down(&mut self) -> Deed {
        self.kills += 1;
        if !self.has_process || self.exited || self.ending {
            return Deed::Nothing;
        }
        self.ending = true;
        self.killed += 1;
        Deed::Ask
    }

    /// Whether it was asked to end, and has not yet.
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    /// Takes one kill back.
    pub fn revive(&mut self) -> Deed {
        if self.kills == 0 {
            return Deed::Nothing;
        }
        self.kills -= 1;
        self.run_again()
    }

    /// Its process has ended: by itself, unless it was asked to.
    pub fn exit(&mut self) {
        if self.ending {
            self.ending = false;
            self.has_process = false;
            self.killed += 1;
        } else {
            self.exited = true;
        }
    }

    /// What it does at the moment.
    pub fn state(&self) -> NodeState {
        if self.exited {
            NodeState::Exited
        } else if !self.has_process {
            NodeState::Killed
        } else if self.freezes > 0 {
            NodeState::Frozen
        } else {
            NodeState::Running
        }
    }

    /// How often it was started.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// How often it was killed.
    pub fn killed(&self) -> u64 {
        self.killed
    }

    fn run_again(&mut self) -> Deed {
        if self.freezes > 0 || self.exited {
            return Deed::Nothing;
        }
        if self.kills > 0 {
            // It cannot end while it is stopped.
            return if self.ending {
                Deed::Continue
            } else {
                Deed::Nothing
            };
        }
        if self.has_process && !self.ending {
            return Deed::Continue;
        }
        if self.ending {
            self.ending = false;
            self.incarnation += 1;
            return Deed::Relaunch;
        }
        self.has_process = true;
        self.incarnation += 1;
        Deed::Launch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_node_comes_back_when_nothing_holds_it() {
        let mut node = Lifecycle::default();
        assert_eq!(node.start(), Deed::Launch);
        assert_eq!(node.freeze(), Deed::Stop);
        assert_eq!(node.kill(), Deed::Kill);
        assert_eq!(node.kill(), Deed::Nothing);
        assert_eq!(node.revive(), Deed::Nothing);
        assert_eq!(node.revive(), Deed::Nothing, "it is still frozen");
        assert_eq!(node.state(), NodeState::Killed);
        assert_eq!(node.thaw(), Deed::Launch);
        assert_eq!((node.incarnation(), node.killed()), (2, 1));
        assert_eq!(node.state(), NodeState::Running);
    }

    #[test]
    fn who_is_asked_to_end_is_started_again_and_killed_if_it_has_not() {
        let mut node = Lifecycle::default();
        node.start();
        assert_eq!(node.shut_down(), Deed::Ask);
        assert_eq!(node.state(), NodeState::Running, "it may take its time");
        node.exit();
        assert_eq!(node.state(), NodeState::Killed, "it did as it was asked");
        assert_eq!(node.revive(), Deed::Launch);
        // Another one is slow, and stopped meanwhile.
        assert_eq!(node.freeze(), Deed::Stop);
        assert_eq!(node.shut_down(), Deed::Ask);
        assert_eq!(node.thaw(), Deed::Continue);
        assert_eq!(node.revive(), Deed::Relaunch);
        assert_eq!(node.incarnation(), 3);
        // A kill does not wait for it.
        assert_eq!(node.shut_down(), Deed::Ask);
        assert_eq!(node.kill(), Deed::Kill);
        assert_eq!(
            (node.revive(), node.revive()),
            (Deed::Nothing, Deed::Launch)
        );
        node.exit();
        assert_eq!(node.state(), NodeState::Exited, "nobody has asked");
    }

    #[test]
    fn what_was_not_done_cannot_be_taken_back() {
        let mut node = Lifecycle::default();
        node.start();
        assert_eq!(node.thaw(), Deed::Nothing);
        assert_eq!(node.revive(), Deed::Nothing);
        node.exit();
        assert_eq!(node.freeze(), Deed::Nothing);
        assert_eq!(node.kill(), Deed::Nothing);
        assert_eq!(node.state(), NodeState::Exited);
    }
}
