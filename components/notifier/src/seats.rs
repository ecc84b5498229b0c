//! Open WebSockets, counted by tenant: one tenant's browsers keep out nobody else's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringdown_domain::TenantId;

/// The seats. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Seats {
    most: usize,
    most_of_tenant: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_tenant: HashMap<TenantId, usize>,
}

/// One seat; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    tenant: TenantId,
}

impl Seats {
    pub(crate) fn new(most: usize, most_of_tenant: usize) -> Self {
        Self { most, most_of_tenant, taken: Arc::default() }
    }

    /// A seat; none when all are taken, or the tenant's.
    pub(crate) fn take(&self, tenant: TenantId) -> Option<Seat> {
        let mut taken = self.taken();
        let of_tenant = taken.by_tenant.get(&tenant).copied().unwrap_or(0);
        if taken.all >= self.most || of_tenant >= self.most_of_tenant {
            return None;
        }
        taken.all += 1;
        taken.by_tenant.insert(tenant, of_tenant + 1);
        Some(Seat { seats: self.clone(), tenant })
    }

    /// Each change leaves both counts whole before anything can panic.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.all -= 1;
        if let Some(count) = taken.by_tenant.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                taken.by_tenant.remove(&self.tenant);
            }
        }
    }
}
