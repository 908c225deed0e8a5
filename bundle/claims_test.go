package bundle

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestClaims builds applications of every kind, which are good, and then has
// their manifests say something else.
func TestClaims(t *testing.T) {
	const nothing = "-- dependencies.txt --\ngunicorn\nuvicorn\n-- external-dependencies.txt --\n"
	for _, c := range []struct {
		name, files, ops string
		change           [2]string // in the manifest
		want             string    // of the changed one; "" where it is good
	}{
		{"no app.ini", "-- bin/app.py --\napplication = 1\n", "", [2]string{`"name":"shop"`, `"name":"bank"`}, ""},
		{"version without app.ini", "-- bin/app.py --\napplication = 1\n", "", [2]string{`"0.0.0"`, `"0.0.1"`}, `"app.ini": states no version, which means 0.0.0, and the manifest says 0.0.1`},
		{"linked entrypoint", "-- lib/main --\nasync def application(): pass\n", "mkdir bin\nlink ../lib/main bin/app.py", [2]string{`"asgi"`, `"wsgi"`}, `"bin/app.py": has the interface asgi (it is a Python script that binds an ASGI application), and the manifest says wsgi`},
		{"executable", "-- bin/app --\n#!/bin/sh\n", "chmod 755 bin/app", [2]string{`"exec"`, `"wsgi"`}, `"bin/app": has the interface exec (it is an executable), and the manifest says wsgi`},
		{"large executable", "-- bin/app --\n#!/bin/sh\n" + strings.Repeat("#\n", 3<<20), "chmod 755 bin/app", [2]string{`"exec"`, `"wsgi"`}, `"bin/app": has the interface exec (it is an executable), and the manifest says wsgi`},
		{"stated", "-- app.ini --\n[app]\ninterface = exec\n-- bin/app.py --\n#!/usr/bin/env python3\n", "chmod 755 bin/app.py", [2]string{`"exec"`, `"wsgi"`}, `"bin/app.py": has the interface exec (app.ini says so), and the manifest says wsgi`},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := t.TempDir()
			dir := filepath.Join(base, "shop")
			write(t, dir, txtar.Parse([]byte(nothing+c.files)), "")
			do(t, dir, c.ops)
			app, err := Load(dir)
			must(t, err)
			res, err := Build(t.Context(), app, BuildOptions{Output: base})
			must(t, err)
			bad := filepath.Join(base, "bad.tar.zst")
			all := readTar(t, res.Path)
			body := bytes.Replace(all[0].body, []byte(c.change[0]), []byte(c.change[1]), 1)
			if bytes.Equal(body, all[0].body) {
				t.Fatalf("no %s in the manifest", c.change[0])
			}
			all[0].body = body
			writeTar(t, bad, all)
			for i, archive := range []string{res.Path, bad} {
				want := ""
				if i == 1 && c.want != "" {
					want = bad + ": " + c.want
				}
				_, err := Verify(t.Context(), archive)
				if msg(err) != want {
					t.Errorf("Verify: %v, want %s", err, want)
				}
				err = Unpack(t.Context(), archive, fmt.Sprintf("%s/x%d", base, i), UnpackOptions{})
				if msg(err) != want {
					t.Errorf("Unpack: %v, want %s", err, want)
				}
			}
		})
	}
}

func msg(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
