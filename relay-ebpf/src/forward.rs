//! One packet in, one packet out: find the leg, check the source, rewrite, and name the device.

use aya_ebpf::{bindings::xdp_action::XDP_DROP, helpers::bpf_get_smp_processor_id, programs::XdpContext};
use relay_common::event;
use relay_common::leg::{self, Leg, LegKey, route, traffic_index};
use relay_common::limits::{BUCKETS_PER_RECORD, LEGS_PER_BUCKET};
use relay_common::next_hop;
use relay_common::packet::Packet;
use relay_common::tap::Direction;
use relay_common::udp_frame::{Rewrite, UdpFrame};
use relay_common::verdict::{Drop, Pass};

use crate::{Verdict, learn, maps, notify, tap};

/// Decides about one frame, and rewrites it if it is to be forwarded.
#[inline(always)]
pub(crate) fn handle(ctx: &XdpContext) -> Verdict {
    // SAFETY: the kernel gives the program alone the bytes between `data` and `data_end` while it runs.
    let packet = unsafe { Packet::from_range(ctx.data() as *mut u8, ctx.data_end() as *mut u8) };
    let mut frame = match UdpFrame::parse(&packet) {
        Ok(frame) => frame,
        Err(reason) => return Verdict::Pass(reason),
    };
    let Some((index, leg)) = find(frame.leg_key()) else {
        return Verdict::Pass(Pass::NoLeg);
    };
    match relay(ctx, &packet, &mut frame, index, leg) {
        Ok(action) => Verdict::Forward(action),
        Err(reason) => Verdict::Drop(index, reason),
    }
}

/// The leg that a frame is addressed to, and its index.
#[inline(always)]
fn find(key: LegKey) -> Option<(u32, *mut Leg)> {
    let bucket = key.bucket(maps::bucket_mask());
    let record = maps::LEG_BUCKETS.get(bucket / BUCKETS_PER_RECORD)?;
    let mut index = *record.get((bucket % BUCKETS_PER_RECORD) as usize)?;
    for _ in 0..LEGS_PER_BUCKET {
        if index == 0 {
            return None;
        }
        let leg = maps::LEGS.get_ptr_mut(index)?;
        // SAFETY: a pointer that the map gave stays valid while the program runs; the user half writes `key` only
        // while no bucket leads to the record.
        if unsafe { (*leg).key } == key {
            return Some((index, leg));
        }
        index = maps::ADMISSIONS.get(index)?.next;
    }
    None
}

/// Admits a packet of this leg, rewrites it and returns the action that sends it on.
#[inline(always)]
fn relay(
    ctx: &XdpContext,
    packet: &Packet<'_>,
    frame: &mut UdpFrame<'_>,
    index: u32,
    leg: *mut Leg,
) -> Result<u32, Drop> {
    frame.check(packet.length())?;

    // SAFETY: as in `find`; the kernel half and the user half change this aligned word only as a whole.
    let admitted = unsafe { (*leg).source };
    if admitted != frame.source().word() {
        learn::admit(packet, frame, index, leg, admitted)?;
    }

    // SAFETY: as in `find`. The user half changes each of these aligned words as a whole; a packet that sees an old
    // and a new word side by side is sent to a next hop that was right an instant ago.
    let (route, origin, destination) = unsafe { ((*leg).route, (*leg).origin, (*leg).destination) };
    let hop_index = route.index();
    if route.has(route::TAPPED_IN) {
        tap::copy(ctx, index, Direction::In);
    }
    if hop_index == 0 {
        let has_stream = maps::ADMISSIONS.get(index).is_some_and(|rest| rest.flags & leg::HAS_STREAM != 0);
        return Err(if has_stream { Drop::RemoteUnknown } else { Drop::NoStream });
    }
    let hop = maps::NEXT_HOPS.get(hop_index).ok_or(Drop::NextHopUnresolved)?;
    if hop.state & next_hop::RESOLVED == 0 {
        let refusal = hop.refusal();
        if matches!(refusal, Drop::NextHopUnresolved) {
            notify::send(event::NEXT_HOP_UNRESOLVED, index, frame, hop_index);
        }
        return Err(refusal);
    }
    if frame.ip_length() > hop.mtu {
        return Err(Drop::TooBig);
    }
    // Chooses the device; the frame itself is taken from the program when it has ended.
    let action = maps::DEVICES.redirect(hop.device, u64::from(XDP_DROP)).map_err(|_| Drop::NoDevice)?;
    // SAFETY: takes no argument and only names the CPU that we run on.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some(traffic) = maps::TRAFFIC.get_ptr_mut(traffic_index(cpu, maps::leg_slots(), index)) {
        // SAFETY: this CPU's own record; the program is not preempted by itself on one CPU.
        unsafe {
            (*traffic).packets += 1;
            (*traffic).bytes += packet.length() as u64;
        }
    }
    frame.rewrite(&Rewrite { macs: hop.macs, origin, destination });
    if route.has(route::TAPPED_OUT) {
        tap::copy(ctx, index, Direction::Out);
    }
    Ok(action)
}
