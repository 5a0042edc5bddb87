// Package providertest holds what every [push.Provider] has to do, as tests
// that a provider passes against the simulator of its service:
//
//	func TestProvider(t *testing.T) {
//		providertest.Run(t, func(t *testing.T) providertest.Subject {
//			service, err := pushtest.NewAPNs(pushtest.APNsOptions{})
//			...
//			return providertest.Subject{Provider: provider, Service: service, Device: device, Dead: dead}
//		})
//	}
//
// A sender relies on these laws and on nothing else: one request for each call,
// an answer in time, no address given up for trouble that is not its own, and
// nothing secret in what is told.
package providertest
