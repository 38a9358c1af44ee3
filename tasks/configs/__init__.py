"""What a person chooses of a run where its workload has a say: what each workload adds stands in the run form."""
