//! Folders and files that other users and processes cannot change under the gateway.
//!
//! - [`beneath`] opens files beneath a folder and nowhere else, whatever links and renames happen meanwhile.
//! - [`temporary`] names the temporary file that a process writes before it renames it into place.
//! - [`trust`] says whether only this user or root may write to a folder.
//!
//! The crate is at the bottom of the workspace: it imports no other crate of it.

pub mod beneath;
pub mod temporary;
pub mod trust;
