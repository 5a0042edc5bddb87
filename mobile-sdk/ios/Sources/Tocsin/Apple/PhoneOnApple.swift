#if canImport(CryptoKit) && canImport(Security)
    import CryptoKit
    import Foundation

    #if canImport(UserNotifications)
        import UserNotifications
    #endif

    extension Phone {
        /// A phone on Apple's systems: files in the container of the app group, keys
        /// in its part of the keychain, the unlock key in the Secure Enclave. Make it
        /// the same way in the app and in its notification extension.
        public convenience init(appGroup: String) throws(PhoneError) {
            guard let folder = Self.folder(appGroup) else {
                throw PhoneError(.fix, PhoneError.storage, "app and extension need the app group \(appGroup) among their capabilities")
            }
            let storage: Folder
            do {
                storage = try Folder(folder)
            } catch {
                throw .stored(error, "make the folder of the app group")
            }
            let secrets = Keychain(accessGroup: appGroup)
            let bundle = Bundle.main
            let version = bundle.object(forInfoDictionaryKey: "CFBundleShortVersionString") as? String ?? ""
            self.init(
                app: (bundle.bundleIdentifier ?? "") + "/" + version, os: DeviceProfile.systemVersion, storage: storage, secrets: secrets,
                crypto: CryptoKitCrypto(), unlockKey: SecureEnclave.isAvailable ? EnclaveKey(secrets) : nil)
            #if canImport(UserNotifications)
                // What was on the screen is not for whoever comes next.
                Task { [signedOut] in
                    for await _ in signedOut { UNUserNotificationCenter.current().removeAllDeliveredNotifications() }
                }
            #endif
        }

        private static func folder(_ appGroup: String) -> URL? {
            FileManager.default.containerURL(forSecurityApplicationGroupIdentifier: appGroup)?.appendingPathComponent("tocsin", isDirectory: true)
        }

        /// Has the system send in the background what has not got out. It goes on when the process ends.
        ///
        /// - Parameter appGroup: where an extension's uploads have to lie; nil for the app.
        func handOver(from appGroup: String?) async {
            #if canImport(Darwin)
                guard let folder = appGroup.map({ Self.folder($0) }) ?? FileManager.default.temporaryDirectory else { return }
                for var request in await leftovers() {
                    let name = Arrivals.upload + UUID().uuidString
                    let file = folder.appendingPathComponent(name)
                    guard let body = request.httpBody, (try? body.write(to: file, options: .noFileProtection)) != nil else { continue }
                    request.httpBody = nil
                    let configuration = URLSessionConfiguration.background(withIdentifier: "dev.tocsin." + name)
                    configuration.sharedContainerIdentifier = appGroup
                    configuration.sessionSendsLaunchEvents = false
                    let session = URLSession(configuration: configuration)
                    session.uploadTask(with: request, fromFile: file).resume()
                    session.finishTasksAndInvalidate()
                }
            #endif
        }
    }

    extension DeviceProfile {
        static var systemVersion: String {
            let version = ProcessInfo.processInfo.operatingSystemVersion
            return "\(version.majorVersion).\(version.minorVersion).\(version.patchVersion)"
        }

        /// This app on this phone, called from the app itself.
        ///
        /// - Parameters:
        ///   - token: what the system gave to `didRegisterForRemoteNotificationsWithDeviceToken`.
        ///   - environment: sandbox for an app that Xcode has installed.
        public static func current(
            token: Data?, settings: AlertSettings, displayName: String = "", environment: Environment = .production
        ) -> DeviceProfile {
            var name = utsname()
            uname(&name)
            let model = withUnsafeBytes(of: &name.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            let bundle = Bundle.main
            return DeviceProfile(
                appID: bundle.bundleIdentifier ?? "", environment: environment, token: token, displayName: displayName,
                locale: Locale.current.identifier(.bcp47),
                appVersion: bundle.object(forInfoDictionaryKey: "CFBundleShortVersionString") as? String ?? "", osVersion: systemVersion,
                model: model, settings: settings)
        }
    }
#endif
