//! modelgate
