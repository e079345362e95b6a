"""The audit log: what is digested (layouts), written (change), and checked (verify)."""
