import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// A button of a page.
public enum Verb: String, Codable, Sendable {
    /// Takes it in hand. Works on a locked phone.
    case acknowledge = "VERB_ACKNOWLEDGE"
    /// Ends it. Needs the phone to be unlocked.
    case resolve = "VERB_RESOLVE"
    /// "Can't take it": pages the next level. Needs the phone to be unlocked.
    case escalate = "VERB_ESCALATE"
}

/// One tap, as it is kept until the server has answered it.
public struct Tap: Codable, Sendable, Equatable, Identifiable {
    /// A UUID made at the tap; every retry has the same.
    public let id: String
    public let verb: Verb
    /// `incidents/{incident}`.
    public let incident: String
    /// When, by the phone's clock.
    public let phoneTime: Date

    /// Until when it matters, by the server's clock: the page's deadline.
    let deadline: Date
    /// The page whose card was tapped; "" for a tap inside the app.
    var deliveryID = ""
    var actionToken = ""
    var signature = Data()
    var etag = ""
    var level = 0
    var note = ""

    /// Whether a second tap means the same.
    func isSame(as other: Tap) -> Bool {
        verb == other.verb && incident == other.incident && deliveryID == other.deliveryID
    }

    static let prefix = "tap-"
    var record: String { Self.prefix + id }
}

/// What the server said to a tap. Only this is true of the incident.
public struct TapAnswer: Sendable, Equatable {
    public enum Outcome: String, Sendable {
        /// Done by this tap.
        case done = "OUTCOME_DONE"
        /// Somebody, the caller or ``TapAnswer/holder``, had done it already.
        case already = "OUTCOME_ALREADY"
        /// The incident was resolved already.
        case resolved = "OUTCOME_RESOLVED"
        /// An outcome of a later version: show ``TapAnswer/state``.
        case unknown = ""
    }

    public let outcome: Outcome
    /// Where the incident stands now.
    public let state: Incident.State
    /// Whether this tap changed anything.
    public let changed: Bool
    /// Who holds it now, by name; "" when resolved.
    public let holder: String
    public let holderIsCaller: Bool
    public let number: Int64
    /// It had moved on to somebody else: open the app, whose screen says who holds it.
    public let reopen: Bool
    /// When the server took it.
    public let time: Date?

    /// Whether it says that a test was heard: there is no incident then.
    public var isOfTest: Bool { outcome == .done && state == .unknown && number == 0 }

    /// nil for what is no answer to a tap.
    init?(_ json: JSON) {
        guard let said = json["outcome"].text, let where_ = json["state"].text else { return nil }
        outcome = Outcome(rawValue: said) ?? .unknown
        state = Incident.State(rawValue: where_) ?? .unknown
        changed = json["changed"].bool
        holder = json["holder"].string
        holderIsCaller = json["holderIsCaller"].bool
        number = json["number"].int
        reopen = json["reopen"].bool
        time = json["serverTime"].date
    }

    /// The answer to a tap inside the app: the incident as it is afterwards.
    init?(_ incident: Incident, verb: Verb, user: String) {
        guard !incident.name.isEmpty, incident.state != .unknown else { return nil }
        let first = incident.acknowledgements.first
        let turn = incident.assignees.first
        if incident.state == .resolved && verb != .resolve {
            outcome = .resolved
        } else if verb == .acknowledge && first?.user != user {
            outcome = .already
        } else {
            outcome = .done
        }
        state = incident.state
        changed = outcome == .done
        holder = first?.displayName ?? turn?.displayName ?? ""
        holderIsCaller = (first?.user ?? turn?.user) == user
        number = incident.number
        reopen = false
        time = incident.updated
    }
}

/// Where a tap stands.
public enum TapProgress: Sendable, Equatable {
    /// On its way: show "acknowledging…". `kept` is false when it could not be written down, as on a full disk: it is
    /// tried while the app runs, and lost with it. Say so.
    case sending(kept: Bool)
    /// A try failed; it goes on by itself.
    case waiting(PhoneError)
    /// Nothing has confirmed it for 15 seconds. Turn the card into "not acknowledged, tap", with a sound. It goes on by itself.
    case unconfirmed
    /// The server has answered. The last progress of a tap.
    case confirmed(TapAnswer)
    /// The server has refused, or it cannot be sent. The last progress of a tap.
    case refused(PhoneError)
    /// Ten minutes after the page's deadline nobody had answered. The last progress of a tap.
    case expired

    /// Whether nothing follows.
    public var isLast: Bool {
        switch self {
        case .confirmed, .refused, .expired: return true
        case .sending, .waiting, .unconfirmed: return false
        }
    }
}

/// The taps that the server has not answered yet.
///
/// A tap is written down before it is sent, and sent with the same id until it
/// is answered: over failures, and over the end of the app. A second tap on the
/// same button, while the first is under way, is the first.
public actor Actions {
    private let account: Account
    private let arrivals: Arrivals
    private let unlockKey: (any UnlockKey)?
    private let clock: SteadyClock
    private let all = Broadcast<(Tap, TapProgress)>()
    private var queue: TapQueue
    private var running: [String: Running] = [:]
    private var wake: Task<Void, Never>?

    private struct Running {
        var progress: TapProgress
        let told = Broadcast<TapProgress>()
    }

    private static let path = "/v1/push/actions"
    /// How long a tap inside the app is tried.
    private static let hour: TimeInterval = 3_600

    init(account: Account, arrivals: Arrivals, unlockKey: (any UnlockKey)?) {
        self.account = account
        self.arrivals = arrivals
        self.unlockKey = unlockKey
        clock = SteadyClock(account.gateway.system)
        queue = TapQueue(pauses: Pauses(random: account.gateway.system.random))
    }

    /// Every progress of every tap from now on, those of former starts included.
    public nonisolated var progress: AsyncStream<(Tap, TapProgress)> { all.stream }

    /// The taps that are under way, oldest first, and where each stands.
    public var pending: [(Tap, TapProgress)] {
        queue.entries.compactMap { entry in running[entry.tap.id].map { (entry.tap, $0.progress) } }
    }

    /// Taps a button of a page.
    ///
    /// - Parameter note: what the person typed along; 1,024 characters of it are sent.
    /// - Returns: where the tap stands, from now to its end.
    public func tap(_ verb: Verb, on push: Push, note: String = "") -> AsyncStream<TapProgress> {
        var tap = Tap(
            id: UUID().uuidString.lowercased(), verb: verb, incident: push.incident, phoneTime: clock.now,
            deadline: push.expires ?? account.gateway.clock.now)
        tap.deliveryID = push.deliveryID
        tap.actionToken = push.actionToken
        tap.note = String(String.UnicodeScalarView(note.unicodeScalars.prefix(1_024))) // no text may cost the tap
        if verb != .acknowledge {
            do {
                guard let unlockKey else { return refuse(tap, "this app has no key that proves that the phone is unlocked") }
                tap.signature = try unlockKey.sign(Data(tap.id.utf8))
            } catch {
                return refuse(tap, "the phone is locked: \(error)")
            }
        }
        return begin(tap)
    }

    /// Taps a button inside the app, on an incident as it is on the screen: when it
    /// has changed meanwhile, the tap is refused with ``PhoneError/Remedy/decide``.
    ///
    /// - Returns: where the tap stands, from now to its end.
    public func tap(_ verb: Verb, on incident: Incident) -> AsyncStream<TapProgress> {
        var tap = Tap(
            id: UUID().uuidString.lowercased(), verb: verb, incident: incident.name, phoneTime: clock.now,
            deadline: account.gateway.clock.now.addingTimeInterval(Self.hour))
        // Whoever takes something in hand does so whatever has changed.
        tap.etag = verb == .acknowledge ? "" : incident.etag
        tap.level = incident.level
        return begin(tap)
    }

    /// Goes on with the taps that a former start left, and at once with those that
    /// wait. Call it when the app starts and when the network is back.
    public func resume() {
        let now = clock.now
        var left: [Tap] = []
        for name in ((try? account.storage.names(beginning: Tap.prefix)) ?? [:]).keys {
            guard let record = try? account.storage.read(name) else { continue }
            guard let tap = try? JSONDecoder().decode(Tap.self, from: record) else {
                try? account.storage.remove(name) // of another version, or torn
                continue
            }
            if running[tap.id] == nil { left.append(tap) }
        }
        for tap in left.sorted(by: { $0.phoneTime < $1.phoneTime }) where queue.add(tap, at: now) == nil {
            running[tap.id] = Running(progress: .sending(kept: true))
        }
        queue.online(at: now)
        go()
    }

    /// The taps on cards that wait, as calls that anybody can make.
    func leftovers() -> [URLRequest] {
        guard let session = account.session, let credential = try? account.credential() else { return [] }
        return queue.entries.filter { !$0.tap.deliveryID.isEmpty }.map { entry in
            var call = Call(path: Self.path, body: body(entry.tap))
            call.bearer = credential
            return account.gateway.request(call, at: session.server)
        }
    }

    /// Ends what is under way, when the person signs out.
    func forget(because error: PhoneError) {
        for id in running.keys { end(id, .refused, .refused(error)) }
        go()
    }

    private func begin(_ tap: Tap) -> AsyncStream<TapProgress> {
        if let same = queue.add(tap, at: clock.now), let run = running[same.id] { return stream(run) }
        var kept = true
        do {
            try account.storage.write(try JSONEncoder().encode(tap), to: tap.record)
        } catch {
            kept = false
        }
        let run = Running(progress: .sending(kept: kept))
        running[tap.id] = run
        let stream = stream(run)
        all.send((tap, run.progress))
        go()
        return stream
    }

    /// What has to happen now: calls that are due begin, and what is over is told.
    private func go() {
        let system = account.gateway.system
        queue.offset = account.gateway.clock.now.timeIntervalSince(clock.now)
        for tap in queue.advance(to: clock.now) {
            Task { await send(tap) }
        }
        for entry in queue.entries {
            switch entry.shows {
            case .unconfirmed: tell(entry.tap, .unconfirmed)
            case .givenUp: settle(entry.tap, .expired)
            case .acting, .done, .refused: break // told when the answer came
            }
        }
        queue.sweep()
        wake?.cancel()
        guard let next = queue.next else { return }
        wake = Task { // holds the queue for as long as something waits in it
            guard (try? await system.sleep(max(next.timeIntervalSince(clock.now), 0.001))) != nil else { return }
            go()
        }
    }

    private func send(_ tap: Tap) async {
        do throws(PhoneError) {
            let answer = try await attempt(tap)
            end(tap.id, .done, .confirmed(answer))
        } catch where error.isTemporary {
            queue.ended(tap.id, .retry(wanted: error.pause), at: clock.now)
            // What the person was told stays so until the server has answered.
            if let run = running[tap.id], run.progress != .unconfirmed { tell(tap, .waiting(error)) }
        } catch {
            end(tap.id, .refused, .refused(error))
        }
        go()
    }

    private func attempt(_ tap: Tap) async throws(PhoneError) -> TapAnswer {
        if tap.deliveryID.isEmpty { return try await attemptInApp(tap) }
        let answer: JSON
        do throws(PhoneError) {
            answer = try await account.call(Call(path: Self.path, body: body(tap)))
        } catch {
            // Before the first unlock the page's own token does, where it has one.
            guard error.remedy == .unlock, tap.verb == .acknowledge, !tap.actionToken.isEmpty, let server = account.session?.server else { throw error }
            answer = try await account.gateway.answer(Call(path: Self.path, body: body(tap, token: tap.actionToken)), at: server)
        }
        guard let said = TapAnswer(answer) else { throw .unreadable(status: 200) }
        return said
    }

    /// - Parameter token: the page's action token, with which there are no notes.
    private func body(_ tap: Tap, token: String = "") -> JSON {
        .fields([
            "actionId": JSON(tap.id), "deliveryId": JSON(tap.deliveryID), "verb": JSON(tap.verb.rawValue), "atDevice": JSON(tap.phoneTime),
            "note": token.isEmpty ? JSON(tap.note) : nil, "unlockSignature": JSON(bytes: tap.signature), "actionToken": JSON(token),
        ])
    }

    private func attemptInApp(_ tap: Tap) async throws(PhoneError) -> TapAnswer {
        let word: String
        switch tap.verb {
        case .acknowledge: word = "acknowledge"
        case .resolve: word = "resolve"
        case .escalate: word = "escalate"
        }
        let body = JSON.fields([
            "requestId": JSON(tap.id), "etag": JSON(tap.etag), "clientTime": JSON(tap.phoneTime),
            // A double tap goes one level and not two.
            "expectedLevel": tap.verb == .escalate && tap.level > 0 ? JSON(Int64(tap.level)) : nil,
        ])
        let incident = Incident(try await account.call(Call(path: "/v1/\(tap.incident):\(word)", body: body)))
        guard let said = TapAnswer(incident, verb: tap.verb, user: account.session?.user ?? "") else { throw .unreadable(status: 200) }
        arrivals.saw(incident)
        return said
    }

    private func end(_ id: String, _ result: TapQueue.Result, _ progress: TapProgress) {
        guard let tap = queue.entries.first(where: { $0.tap.id == id })?.tap else { return }
        queue.ended(id, result, at: clock.now)
        settle(tap, progress)
    }

    private func settle(_ tap: Tap, _ progress: TapProgress) {
        try? account.storage.remove(tap.record)
        tell(tap, progress)
        running[tap.id] = nil
    }

    private func tell(_ tap: Tap, _ progress: TapProgress) {
        guard let run = running[tap.id], run.progress != progress else { return }
        running[tap.id]?.progress = progress
        run.told.send(progress)
        all.send((tap, progress))
    }

    /// Where a tap stands, from now to its end.
    private func stream(_ run: Running) -> AsyncStream<TapProgress> {
        let told = run.told.stream
        return AsyncStream { continuation in
            continuation.yield(run.progress)
            let task = Task {
                for await progress in told {
                    continuation.yield(progress)
                    if progress.isLast { break }
                }
                continuation.finish()
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    private func refuse(_ tap: Tap, _ why: String) -> AsyncStream<TapProgress> {
        let progress = TapProgress.refused(PhoneError(.openApp, "UNLOCK_REQUIRED", why))
        all.send((tap, progress))
        return AsyncStream { continuation in
            continuation.yield(progress)
            continuation.finish()
        }
    }
}
