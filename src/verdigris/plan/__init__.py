"""What the operator asks for: which spans are whose (`identity`) and what is tolerated (`policy`). Pure."""
