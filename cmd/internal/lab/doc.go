// Package lab runs the product on this machine as it is run elsewhere: `tocsin
// serve` as a process of its own with its private redis-server, and the push
// services of Apple and Google as simulators that record what arrives when.
// What measures the product and what breaks it are built on it.
//
//	l, err := lab.New(lab.Options{Program: "bin/tocsin", Dir: dir})
//	defer l.Close()
//	err = l.Seed(ctx, func(s *lab.Seed) error { return s.Apply(ctx, lab.Organisation{Services: 50, People: 50, Devices: 1}) })
//	server, err := l.Serve(ctx)
//
// Everything is on loopback and in one directory. It reads /proc, so that it
// runs on Linux only.
package lab
