//! What user space sent on for a leg, by the path that it took.

use crate::leg::Traffic;

/// One record of the `USER_TRAFFIC` map, by the slot of the leg that the packets arrived for. Only user space writes
/// it; each word is added to atomically, because several workers may carry packets of one leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UserTraffic {
    /// By AF_XDP.
    pub af_xdp: Traffic,
    /// By sockets.
    pub sockets: Traffic,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_can_be_added_to_atomically() {
        assert_eq!((size_of::<UserTraffic>(), align_of::<UserTraffic>()), (32, 8));
    }
}
