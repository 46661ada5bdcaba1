//! The command line `culvert`.

fn main() {}
