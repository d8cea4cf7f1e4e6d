//! The four services' stores as maps: they do what each `store.rs` does in SQL. And the process of
//! a service over them, and what an audit reads of them. For the simulation and `saga play`.

pub mod inventory;
pub mod order;
pub mod payment;
mod process;
pub mod shipping;
pub mod snapshot;

use messaging::MemoryTx;

pub use process::Process;

/// A transaction on these data.
pub trait Tables<D>: Send + 'static {
    fn data(&mut self) -> &mut D;
}

impl<D: Clone + Send + Sync + 'static> Tables<D> for MemoryTx<D> {
    fn data(&mut self) -> &mut D {
        Self::data(self)
    }
}
