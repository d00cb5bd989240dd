"""From captured objects to those that are applied in another cluster. Pure: no I/O, no clock."""
