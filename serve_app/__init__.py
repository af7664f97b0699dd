"""What runs on the replicas."""
