"""The audit log: what is digested (layouts), written (change) and verified (entries, batches)."""
