package powerhose

import "context"

// A JobRunner executes jobs: with a master of its own, at which workers
// register, or with one in another process. It may be used by any number of
// goroutines.
type JobRunner struct {
	own    *Master
	client *client
}

// NewJobRunner makes a runner with a master of its own.
func NewJobRunner(cfg MasterConfig) (*JobRunner, error) {
	m, err := NewMaster(cfg)
	if err != nil {
		return nil, err
	}
	return &JobRunner{own: m}, nil
}

// Connect makes a runner for the master at an address, in another process, such
// as POWERHOSE_MASTER names one. The master need not be there yet: it is looked
// for until a call would have to fail, and again after it was lost.
func Connect(address string) (*JobRunner, error) {
	return ConnectKeys(address, nil)
}

// ConnectKeys is [Connect] for a master at tcp://HOST:PORT: with the own key, and
// the public key of the master as the only one that is admitted.
func ConnectKeys(address string, keys *Keys) (*JobRunner, error) {
	master, err := remoteOf(address, keys)
	if err != nil {
		return nil, err
	}
	return &JobRunner{client: newClient(master)}, nil
}

// Execute gives a job to a worker and waits for its result, as
// [Master.Execute]. Where the master is in another process and is lost meanwhile
// the error is [ErrMasterLost]; where none was there for BusyWait, or 1 s,
// [ErrNoMaster].
func (r *JobRunner) Execute(ctx context.Context, job []byte, c Call) ([]byte, error) {
	if r.own != nil {
		return r.own.Execute(ctx, job, c)
	}
	return r.client.execute(ctx, job, c)
}

// Master is the runner's own master, or nil.
func (r *JobRunner) Master() *Master { return r.own }

// Close ends the runner, as [Master.Close].
func (r *JobRunner) Close() error {
	if r.own != nil {
		return r.own.Close()
	}
	return r.client.close()
}
