"""From what is seen to what happens next: values in, one event out. Pure."""
