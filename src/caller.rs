//! A backend asks one browser and waits.
