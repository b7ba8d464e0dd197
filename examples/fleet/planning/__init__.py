"""What plan.py plans with: measurements, arithmetic, a simulation and its picture."""
