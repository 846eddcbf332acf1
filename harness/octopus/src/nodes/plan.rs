//! What a node consists of: its processes, the files that it finds in its folder, the machine that it is on, and
//! how it is asked to end.

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use super::limits::NodeLimits;
use crate::{machines::Machine, process::Signal};

/// How a node is started.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The folder that it runs in, which exists.
    pub folder: PathBuf,
}

/// A process of a node.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables in its environment, besides ours.
    pub environment: Vec<(String, String)>,
    /// The user and group that it runs as, if not as we do; that takes the rights of root.
    pub user: Option<u32>,
}

/// A file that a node finds in its folder when it starts for the first time, or with an empty disk.
#[derive(Clone, Debug)]
pub struct NodeFile {
    /// Its path below the folder.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// How a node is asked to end.
#[derive(Clone, Debug)]
pub enum StopBy {
    /// All its processes get a signal.
    Signal(Signal),
    /// A program is run on its machine.
    Command(Box<ProcessSpec>),
}

/// A node in full: several processes that live and die together, and the machine that they are on.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// The folder that they run in, which exists.
    pub folder: PathBuf,
    /// They are started in this order.
    pub processes: Vec<ProcessSpec>,
    /// What lies in the folder.
    pub files: Vec<NodeFile>,
    /// The user whose the folder is, if not ours.
    pub owner: Option<u32>,
    /// How they are asked to end.
    pub stop: StopBy,
    /// How much it may use.
    pub limits: NodeLimits,
    /// Where they run, if not where we do.
    pub machine: Option<Arc<Machine>>,
}

impl NodePlan {
    /// A node without processes and files, which SIGTERM asks to end, where we run.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self {
            folder,
            processes: Vec::new(),
            files: Vec::new(),
            owner: None,
            stop: StopBy::Signal(Signal::TERM),
            limits: NodeLimits::default(),
            machine: None,
        }
    }
}

impl From<NodeSpec> for NodePlan {
    fn from(spec: NodeSpec) -> Self {
        let process = ProcessSpec {
            program: spec.program,
            arguments: spec.arguments,
            environment: Vec::new(),
            user: None,
        };
        Self {
            processes: vec![process],
            ..Self::in_folder(spec.folder)
        }
    }
}
