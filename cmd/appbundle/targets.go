package main

import (
	"context"

	"appbundle/bundle"
	"appbundle/install"
	"appbundle/resolve"
	"appbundle/schema/pep425"
)

// targets are what is locked for, in the order of the flags.
func (o *lockOptions) targets(ctx context.Context, app *bundle.App, cache string) ([]resolve.Target, error) {
	python, err := pythonVersion(ctx, app, o.python, cache)
	if err != nil {
		return nil, err
	}
	platforms := o.platforms
	if platforms == nil {
		platforms = app.Config.Build.Targets
	}
	if platforms == nil {
		platforms = bundle.DefaultPlatforms()
	}
	var list []resolve.Target
	for _, platform := range platforms {
		t, err := target(ctx, app, platform, python, o.python, cache)
		if err != nil {
			return nil, err
		}
		list = append(list, resolve.NewTarget(t))
	}
	return list, nil
}

func target(ctx context.Context, app *bundle.App, platform, python, flag, cache string) (pep425.Target, error) {
	if platform != "host" {
		t, err := pep425.ParseTarget(platform, python)
		if err != nil {
			return t, &usageError{err: err}
		}
		return t, nil
	}
	path, err := interpreter(app, flag)
	if err != nil {
		return pep425.Target{}, err
	}
	i, err := install.Ask(ctx, path, cache)
	if err != nil {
		return pep425.Target{}, err
	}
	return i.Target()
}
