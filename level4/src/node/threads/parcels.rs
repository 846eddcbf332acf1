//! The parcels thread: what has to wait for the disk while snapshots go from node to node. It reads parts of those
//! that are sent, and has the system write what has come of those that are received, so that little is left to
//! be synced at their end.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::super::fault::Fault;
use crate::consensus::Part;
use crate::database::Shelf;
use crate::ids::NodeId;
use crate::log::LogError;
use crate::message::PeerMessage;
use crate::transport::Transport;

/// So much may wait; more is lost, and parts are asked for again.
pub const WORKS_LIMIT: usize = 1024;

/// What is to be done.
pub enum ParcelWork {
    /// This part is to be read and sent to that node.
    Send(NodeId, Part),
    /// Much has come.
    WriteOut,
}

/// Works until nobody has anything to be done.
pub fn run(
    works: &Receiver<ParcelWork>,
    transport: &Arc<Transport>,
    shelf: Option<&Shelf>,
) -> Result<(), Fault> {
    for work in works {
        match (work, shelf) {
            (ParcelWork::Send(to, part), _) => {
                transport.send(to, &PeerMessage::Snapshot(part.read()));
            }
            (ParcelWork::WriteOut, Some(shelf)) => {
                shelf.write_out().map_err(LogError::Database)?;
            }
            (ParcelWork::WriteOut, None) => {}
        }
    }
    Ok(())
}
