"""WHAT is promised: the policy file, its schedules, its objectives. Pure, but for reading the file."""
