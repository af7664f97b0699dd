"""Ray on this machine as a background cluster of our own: started, found again, and ended to the last process."""
