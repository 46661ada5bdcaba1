//! Between session descriptions and the neutral session model.
