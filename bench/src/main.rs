//! Load generators, veth topologies, measurement, report.

fn main() {}
