"""One adapter a wire format, behind one narrow protocol."""
