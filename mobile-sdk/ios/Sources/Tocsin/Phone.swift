import Foundation

/// This app on this phone, as a tocsin server pages it: coming in, being paged, saying so, acting.
///
/// Make one in the app and one in the notification extension, on the same
/// ``Storage`` and ``Secrets``. Every method may be called from anywhere.
public final class Phone: Sendable {
    /// Reads and follows incidents.
    public let incidents: Incidents
    /// Taps, and where each stands.
    public let actions: Actions

    let account: Account
    let arrivals: Arrivals
    let receipts: Receipts
    private let seals: SealKeys
    private let unlockKey: (any UnlockKey)?

    private static let profile = "profile"
    private static let askedForKey = "asked-for-seal-key"
    private static let reportPatience: TimeInterval = 1.5

    /// - Parameters:
    ///   - app: what the server's log calls the app: "com.example.oncall/1.2".
    ///   - unlockKey: nil for an app whose cards can acknowledge and no more.
    public init(
        app: String, os: String = "", storage: any Storage, secrets: any Secrets, crypto: any Crypto, unlockKey: (any UnlockKey)? = nil,
        transport: any Transport = HTTPTransport(), clock system: SystemClock = .system
    ) {
        let clock = ServerClock(system: system, storage: storage)
        let gateway = Gateway(transport: transport, system: system, clock: clock, agent: app + " tocsin-ios")
        account = Account(gateway: gateway, storage: storage, secrets: secrets)
        arrivals = Arrivals(storage: storage, clock: clock, system: system)
        seals = SealKeys(secrets: secrets, crypto: crypto, system: system)
        receipts = Receipts(account: account, app: String(app.split(separator: "/").last ?? "").prefix(32).description, os: String(os.prefix(32)))
        incidents = Incidents(account: account, arrivals: arrivals)
        actions = Actions(account: account, arrivals: arrivals, unlockKey: unlockKey)
        self.unlockKey = unlockKey
    }

    // MARK: Coming in

    /// Whose phone it is; nil when nobody is signed in.
    public var session: Session? { account.session }

    /// Says why, each time the person is signed out from elsewhere: a revoked device, a wiped one.
    public var signedOut: AsyncStream<PhoneError> { account.signedOut.stream }

    /// The server's time. Deadlines are in it; the phone's clock may be off.
    public var serverTime: Date { account.gateway.clock.now }

    /// Whose phone the bearer of a link would become. Show it, and ask. Uses nothing up.
    public func preview(_ invitation: Invitation) async throws(PhoneError) -> Welcome {
        let call = Call(path: "/v1/devices:previewEnrolment", body: ["code": JSON(invitation.code)])
        return Welcome(try await account.gateway.answer(call, at: invitation.server))
    }

    /// Makes the phone that of the link's person. Whoever was signed in before is signed out first.
    ///
    /// The link is good for one use: when the answer is lost (``PhoneError/Remedy/retry``), ask for a new one.
    @discardableResult
    public func enrol(_ invitation: Invitation, as profile: DeviceProfile) async throws(PhoneError) -> Session {
        try account.prepare()
        let other = PhoneError(.signIn, PhoneError.notEnrolled, "somebody else signs in")
        if account.session != nil {
            _ = try await preview(invitation) // nobody is signed out for a link that is over
            do throws(PhoneError) {
                _ = try await revoke()
            } catch where error.remedy == .signIn {}
            await forget(other)
        }
        await actions.forget(because: other) // a tap of whoever was signed out by the server is not this person's
        let fields = try await device(profile)
        let call = Call(path: "/v1/devices:enrol", body: ["code": JSON(invitation.code), "device": fields])
        let answer = try await account.gateway.answer(call, at: invitation.server)
        guard let credential = answer["credential"].text, let name = answer["device"]["name"].text else { throw .unreadable(status: 200) }
        let session = Session(
            server: invitation.server, device: name, user: answer["device"]["user"].string, person: answer["userDisplayName"].string,
            organization: answer["organization"].string)
        do throws(PhoneError) {
            try account.keep(session, credential: credential)
        } catch {
            // Nobody could use the credential: the record must not be paged in vain.
            var undo = Call(path: "/v1/\(name):revoke", body: [:])
            undo.bearer = credential
            _ = try? await account.gateway.answer(undo, at: invitation.server)
            throw error
        }
        keep(fields)
        return session
    }

    /// Tells the server everything that the app knows. Call it whenever the app
    /// starts, and when the system gives a new token.
    @discardableResult
    public func register(_ profile: DeviceProfile) async throws(PhoneError) -> Registration {
        try await register(try await device(profile))
    }

    /// Reports settings as the person changes them.
    @discardableResult
    public func report(_ settings: AlertSettings) async throws(PhoneError) -> Device {
        guard let session else { throw .nobody }
        var fields = settings.json
        fields["name"] = JSON(session.device)
        let call = Call(
            method: "PATCH", path: "/v1/" + session.device, query: [("updateMask", "permission,capabilities")], body: JSON.fields(fields))
        return Device(try await account.call(call))
    }

    /// Gives back the ``Push/nonce`` that was pushed to the address, which proves that the phone holds it.
    @discardableResult
    public func confirmAddress(nonce: String) async throws(PhoneError) -> Device {
        Device(try await account.call(Call(path: "/v1/devices/me:confirmAddress", body: ["nonce": JSON(nonce)])))
    }

    /// The phone's record at the server: whether it would be reached tonight, and if not, why.
    public func device() async throws(PhoneError) -> Device {
        Device(try await account.call(Call(method: "GET", path: "/v1/devices/me")))
    }

    /// Signs the person out: at the server where it can be reached, and here in any case.
    ///
    /// - Returns: whether the server knows. Where it does not, the app has to give
    ///   its token back to the system (`unregisterForRemoteNotifications`), so that nobody is paged here.
    @discardableResult
    public func signOut() async -> Bool {
        var known = true
        do throws(PhoneError) {
            try await revoke()
        } catch {
            known = error.remedy == .signIn
        }
        await forget(PhoneError(.signIn, PhoneError.notEnrolled, "the person signed out"))
        return known
    }

    /// Goes on with what a former start left: taps, receipts, a key that was asked for. Call it whenever the app starts or comes to the front.
    public func start() async {
        guard account.session != nil else { return }
        await actions.resume()
        await receipts.online()
        arrivals.forget()
        await renewSealKey()
    }

    // MARK: Being paged

    /// Decides how a push is shown, for the notification extension: the report
    /// starts first, the text is opened beside it, and it answers when the report
    /// ends or after 1.5 seconds, whichever is first.
    public func present(_ push: Push) async -> Presentation {
        let (ended, end) = AsyncStream<Void>.makeStream()
        Task {
            await receipts.report(.received, of: push)
            end.finish()
        }
        let timer = Task { [system = account.gateway.system] in
            try? await system.sleep(Self.reportPatience)
            end.finish()
        }
        var arrival = arrivals.judge(push)
        let opening = seals.open(push, device: account.session?.deviceID ?? "")
        if push.asksForSealKey { await wantSealKey() }
        for await _ in ended {}
        timer.cancel()
        // What still comes for whoever was signed in before wakes nobody.
        if account.isNobodys { arrival = .silent }
        // The answer to the report has told the server's time: a clock an hour off must not make a page a missed one.
        if arrival == .ring || arrival == .missed { arrival = arrivals.isMissed(push) ? .missed : .ring }
        for (state, reason) in afterthoughts(arrival, opening) { await receipts.add(state, of: push, reason: reason) }
        if push.asksForSealKey { Task { await renewSealKey() } }
        return Presentation(push, arrival, opening)
    }

    /// What there is to say once the push has been looked at.
    private func afterthoughts(_ arrival: Arrival, _ opening: SealKeys.Opening) -> [(Receipt.State, String)] {
        var all: [(Receipt.State, String)] = []
        switch opening {
        case .locked: all.append((.received, "locked"))
        case .failed: all.append((.received, "decrypt"))
        case .clear, .opened: break
        }
        switch arrival {
        case .stale: all.append((.suppressed, "stale"))
        case .missed: all.append((.suppressed, "expired"))
        case .ring, .replace, .quiet, .duplicate, .silent: break
        }
        return all
    }

    /// What a push in the background asks for: a heartbeat is answered, a device that was taken out wipes itself.
    ///
    /// - Returns: when it is done; tell the system then.
    public func receive(_ push: Push) async {
        if let wiped = push.wipes {
            if wiped == account.session?.deviceID { await forget(PhoneError(.signIn, "DEVICE_WIPED", "this device was taken out")) }
            return
        }
        guard push.kind == .heartbeat else { return }
        await receipts.report(.received, of: push)
        await actions.resume()
    }

    /// Says that the app itself shows a page, while it is at the front.
    public func displayed(_ push: Push) async {
        await receipts.add(.displayed, of: push)
    }

    /// Says that the person opened a push.
    public func opened(_ push: Push) async {
        await receipts.add(.opened, of: push)
    }

    /// The text that was sealed in a push, with its links; nil where there is none, or it does not open.
    public func text(of push: Push) -> SealedText? {
        if case .opened(let text) = seals.open(push, device: account.session?.deviceID ?? "") { return text }
        return nil
    }

    // MARK: Testing

    /// Sends a page to this phone that differs from a real one by the word TEST alone.
    ///
    /// - Parameter critical: whether to sound as a critical page does, through silence.
    public func sendTest(critical: Bool = false) async throws(PhoneError) -> TestPush {
        let body = JSON.fields(["critical": critical ? true : nil, "requestId": JSON(UUID().uuidString.lowercased())])
        return TestPush(try await account.call(Call(path: "/v1/devices/me:sendTestPush", body: body)))
    }

    /// How far a test gets, to its verdict; it takes at most two minutes. Ends early when the line breaks.
    public func watch(_ test: TestPush) -> AsyncStream<TestPush> {
        AsyncStream { states in
            let task = Task { [account] in
                var call = Call(method: "GET", path: "/v1/\(test.name):watch")
                call.headers = ["Accept": "text/event-stream"]
                call.timeout = TestPush.longest
                _ = await account.events(call, silence: TestPush.longest) { event in
                    states.yield(TestPush(try JSON(Data(event.data.utf8))))
                }
                states.finish()
            }
            states.onTermination = { _ in task.cancel() }
        }
    }

    /// Says whether the person heard it. Only a test that was received and heard has passed.
    public func confirm(_ test: TestPush, heard: Bool) async throws(PhoneError) -> TestPush {
        TestPush(try await account.call(Call(path: "/v1/\(test.name):confirm", body: ["heard": JSON(heard)])))
    }

    // MARK: Inside

    private func revoke() async throws(PhoneError) {
        _ = try await account.call(Call(path: "/v1/devices/me:revoke", body: [:]))
    }

    private func forget(_ error: PhoneError) async {
        await actions.forget(because: error)
        account.forget(because: error)
    }

    /// The device as a request has it, with its keys; made where there are none.
    private func device(_ profile: DeviceProfile) async throws(PhoneError) -> JSON {
        var fields = profile.json
        fields["installId"] = JSON(try account.installID())
        do {
            let seal = try seals.current()
            fields["sealKey"] = JSON(bytes: seal.publicKey)
            fields["sealKeyId"] = JSON(seal.id)
            fields["unlockKey"] = try unlockKey.map { JSON(bytes: try $0.publicKey()) }
        } catch is SecretsLocked {
            throw PhoneError(.unlock, PhoneError.locked, "keys cannot be read before the phone is unlocked for the first time")
        } catch {
            throw .stored(error, "keep the keys of this phone")
        }
        return JSON.fields(fields)
    }

    private func register(_ fields: JSON) async throws(PhoneError) -> Registration {
        let answer = try await account.call(Call(path: "/v1/devices:register", body: ["device": fields]))
        keep(fields)
        let registration = Registration(device: Device(answer["device"]), needsConfirmation: answer["confirmationRequired"].bool)
        if registration.device.sealKeyFailed {
            await wantSealKey()
            await renewSealKey()
        }
        return registration
    }

    /// Keeps what was registered, so that it can be registered again with another key.
    private func keep(_ fields: JSON) {
        // Without it, a key that is asked for waits for the next start of the app.
        try? account.storage.write(fields.data, to: Self.profile)
    }

    private func wantSealKey() async {
        _ = try? account.storage.make(Self.askedForKey)
    }

    /// Registers another key, where the server cannot use the one it has. Until it succeeds, pages come in their minimal form.
    private func renewSealKey() async {
        guard let asked = try? account.storage.names(beginning: Self.askedForKey), !asked.isEmpty,
            let record = try? account.storage.read(Self.profile), let fields = try? JSON(record)
        else { return }
        do {
            var key = try seals.current()
            if fields["sealKeyId"].string == key.id { // else it was made before, and the server has not heard of it
                try seals.rotate()
                key = try seals.current()
            }
            let renewed = fields.with(["sealKey": JSON(bytes: key.publicKey), "sealKeyId": JSON(key.id)])
            _ = try await account.call(Call(path: "/v1/devices:register", body: ["device": renewed]))
            keep(renewed)
            try account.storage.remove(Self.askedForKey)
        } catch {
            return // it stays asked for
        }
    }
}
