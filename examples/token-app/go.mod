module appbundle/examples/token-app

go 1.26.0
