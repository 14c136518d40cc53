"""An air simulator: makes the captures of several sensors, and the truth beside them."""
