"""People who present products: arms that reach, hands that hold, gestures."""
