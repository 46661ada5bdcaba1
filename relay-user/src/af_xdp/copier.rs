//! What a worker knows of the receivers of a group is behind this trait: who they are, where their copies leave, and what is
//! counted. Receivers are known by the slots of their legs.

use relay_common::fan_out::Receiver;
use relay_common::next_hop::NextHop;
use relay_common::verdict::Loss;

use super::handler::Packet;

/// Where the copies for a receiver go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Exit {
    /// Its record.
    pub(crate) record: Receiver,
    /// The next hop that the record names, with its addresses.
    pub(crate) hop: NextHop,
}

/// Knows receivers. On the worker's thread, like [`super::handler::Handler`]; it must not block.
pub(crate) trait Copier {
    /// Most receivers that a group can have.
    fn most(&self) -> usize;

    /// Lists the receivers of a leg, as many as the list has room for.
    fn list(&self, leg: u32, receivers: &mut Vec<u32>);

    /// Where copies for a receiver go.
    ///
    /// # Errors
    /// They have nowhere to go.
    fn exit(&self, receiver: u32) -> Result<Exit, Loss>;

    /// Makes a packet as it arrived the one of a receiver.
    ///
    /// # Errors
    /// It cannot be sent there.
    fn rewrite(&self, receiver: u32, exit: &Exit, packet: &mut Packet<'_>) -> Result<(), Loss>;

    /// A copy was handed to the device. `bytes` as the packet arrived.
    fn copied(&self, receiver: u32, bytes: usize);

    /// A copy was not sent; with [`Loss::Refused`] it was handed to the device, too.
    fn lost(&self, receiver: u32, loss: Loss);
}
