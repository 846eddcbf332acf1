//! The loopback device of a new network namespace is down; one message of rtnetlink(7) raises it.

use std::io;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// `RTM_NEWLINK`: set up a device.
const NEW_LINK: u16 = 16;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const REQUEST_WITH_ANSWER: u16 = 1 | 4;
/// `NLMSG_ERROR`, which is the acknowledgement as well.
const ERROR: u16 = 2;
/// `IFF_UP`.
const UP: u32 = 1;
/// The loopback device is the first of its namespace.
const LOOPBACK: u32 = 1;
/// Bytes of `nlmsghdr` and `ifinfomsg`, 16 each.
const BYTES: u32 = 32;

/// Raises it.
pub(super) fn raise() -> io::Result<()> {
    let kind = SocketType::RAW;
    let socket = socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, None)?;
    send(&socket, &message(), SendFlags::empty())?;
    let mut answer = [0; 256];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    judge(&answer[..length])
}

fn message() -> Vec<u8> {
    let mut bytes = Vec::new();
    // nlmsghdr: length, type, flags, sequence, port.
    bytes.extend(BYTES.to_ne_bytes());
    bytes.extend(NEW_LINK.to_ne_bytes());
    bytes.extend(REQUEST_WITH_ANSWER.to_ne_bytes());
    bytes.extend([0; 8]);
    // ifinfomsg: family and padding, type, index, flags, which flags are meant.
    bytes.extend([0; 4]);
    for word in [LOOPBACK, UP, UP] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// Whether the kernel did it: an error of 0.
fn judge(answer: &[u8]) -> io::Result<()> {
    let kind = answer
        .get(4..6)
        .map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
    let error = answer.get(16..20);
    let error = error.map(|error| i32::from_ne_bytes([error[0], error[1], error[2], error[3]]));
    match (kind, error) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(error)) => Err(io::Error::from_raw_os_error(-error)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_as_long_as_it_says_and_errors_are_read() {
        assert_eq!(message().len(), BYTES as usize);
        let mut answer = vec![0; 36];
        answer[4] = ERROR as u8;
        judge(&answer).unwrap();
        answer[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(judge(&answer).unwrap_err().raw_os_error(), Some(1));
        assert!(judge(&answer[..10]).is_err());
    }
}
