"""What there is: every public name, one name at a glance, and its paper."""
