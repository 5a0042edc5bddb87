import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// What happens to the incidents that somebody watches.
public enum IncidentUpdate: Sendable {
    /// The list as it is: it takes the place of whatever is on the screen.
    case listed([Incident])
    /// One incident changed, or began.
    case changed(Incident)
    /// Nothing happened, and the line is alive.
    case live
    /// The line broke. It comes back by itself, unless the error says that somebody has to do something.
    case interrupted(PhoneError)
}

/// Which incidents.
public struct IncidentFilter: Sendable, Equatable {
    /// Only those that are somebody's turn; `users/me` is the caller. Empty: anybody's.
    public var assignees: [String]
    /// `services/{service}`. Empty: any.
    public var services: [String]
    /// `teams/{team}`. Empty: any.
    public var teams: [String]

    public init(assignees: [String] = [], services: [String] = [], teams: [String] = []) {
        self.assignees = assignees
        self.services = services
        self.teams = teams
    }

    /// Those that are the caller's turn.
    public static let mine = IncidentFilter(assignees: ["users/me"])
    public static let all = IncidentFilter()

    var query: [(name: String, value: String)] {
        assignees.map { ("assignees", $0) } + services.map { ("services", $0) } + teams.map { ("teams", $0) }
    }
}

/// Reads incidents, and follows them.
public struct Incidents: Sendable {
    let account: Account
    let arrivals: Arrivals

    private static let pageSize = 200
    /// The server says something every 15 s; after so long the line is dead.
    private static let silence: TimeInterval = 40

    /// One incident, as it is now.
    public func get(_ name: String) async throws(PhoneError) -> Incident {
        let incident = Incident(try await account.call(Call(method: "GET", path: "/v1/" + name)))
        arrivals.saw(incident)
        return incident
    }

    /// All open incidents that match, newest first.
    public func list(_ filter: IncidentFilter = .all) async throws(PhoneError) -> [Incident] {
        try await page(filter).incidents
    }

    private func page(_ filter: IncidentFilter) async throws(PhoneError) -> (incidents: [Incident], cursor: String) {
        var incidents: [Incident] = [], cursor = "", token = ""
        repeat {
            let query = filter.query + [("scope", "SCOPE_OPEN"), ("pageSize", String(Self.pageSize)), ("pageToken", token)]
            let answer = try await account.call(Call(method: "GET", path: "/v1/incidents", query: query.filter { !$0.value.isEmpty }))
            incidents += answer["incidents"].array.map { Incident($0) }
            if cursor.isEmpty { cursor = answer["watchCursor"].string }
            token = answer["nextPageToken"].string
        } while !token.isEmpty
        for incident in incidents { arrivals.saw(incident) }
        return (incidents, cursor)
    }

    /// The open incidents that match, and everything that happens to them.
    ///
    /// It begins with a list and goes on without a gap, also over interruptions;
    /// after one of over 24 hours it lists again. A change that comes twice is told
    /// once. The stream ends when its iteration does, and after an
    /// ``IncidentUpdate/interrupted(_:)`` that no waiting can mend.
    public func watch(_ filter: IncidentFilter = .all) -> AsyncStream<IncidentUpdate> {
        AsyncStream { updates in
            let task = Task {
                await follow(filter, updates)
                updates.finish()
            }
            updates.onTermination = { _ in task.cancel() }
        }
    }

    private func follow(_ filter: IncidentFilter, _ updates: AsyncStream<IncidentUpdate>.Continuation) async {
        let line = Line(updates: updates)
        let pauses = Pauses(random: account.gateway.system.random)
        var tries = 0
        while !Task.isCancelled {
            let before = line.cursor
            let error: PhoneError
            do throws(PhoneError) {
                if line.cursor.isEmpty {
                    let (incidents, cursor) = try await page(filter)
                    line.begin(incidents, cursor)
                }
                error = await stream(filter, line)
            } catch let refusal {
                error = refusal
            }
            if Task.isCancelled { return }
            tries = line.cursor == before ? tries + 1 : 1
            if error.remedy == .listAgain {
                line.cursor = ""
                if tries == 1 { continue }
            } else {
                updates.yield(.interrupted(error))
            }
            guard error.isTemporary || error.remedy == .listAgain else { return }
            try? await account.gateway.system.sleep(pauses.after(tries, wanted: error.pause))
        }
    }

    /// Reads one stream to its end, and answers why it ended.
    private func stream(_ filter: IncidentFilter, _ line: Line) async -> PhoneError {
        var call = Call(method: "GET", path: "/v1/incidents:watch", query: filter.query)
        call.headers = ["Accept": "text/event-stream", "Last-Event-ID": line.cursor]
        call.timeout = Self.silence
        return await account.events(call, silence: Self.silence) { event in
            let message = try JSON(Data(event.data.utf8))
            line.heard(event.id, message, arrivals)
        }
    }

    /// Where a watch is, over its interruptions.
    private final class Line: Sendable {
        private let updates: AsyncStream<IncidentUpdate>.Continuation
        private let at = Locked((cursor: "", known: [String: Int64]()))

        init(updates: AsyncStream<IncidentUpdate>.Continuation) { self.updates = updates }

        var cursor: String {
            get { at.with { $0.cursor } }
            set { at.with { $0.cursor = newValue } }
        }

        func begin(_ incidents: [Incident], _ cursor: String) {
            at.with { $0 = (cursor, Dictionary(incidents.map { ($0.name, $0.revision) }, uniquingKeysWith: max)) }
            updates.yield(.listed(incidents))
        }

        func heard(_ cursor: String, _ message: JSON, _ arrivals: Arrivals) {
            let incident = message["incident"].object == nil ? nil : Incident(message["incident"])
            let isNew = at.with { at in
                if !cursor.isEmpty { at.cursor = cursor }
                guard let incident, at.known[incident.name, default: 0] < incident.revision else { return false }
                at.known[incident.name] = incident.revision
                return true
            }
            guard let incident else {
                updates.yield(.live)
                return
            }
            arrivals.saw(incident)
            if isNew { updates.yield(.changed(incident)) }
        }
    }
}

extension Account {
    /// Reads server-sent events to their end, and answers why they ended. A line that is silent for too long is given up.
    func events(_ call: Call, silence: TimeInterval, _ heard: @escaping @Sendable (ServerEvent) throws -> Void) async -> PhoneError {
        let credential: String, server: URL
        do throws(PhoneError) {
            credential = try self.credential()
            guard let session else { throw PhoneError.nobody }
            server = session.server
        } catch {
            return error
        }
        var call = call
        call.bearer = credential
        let request = gateway.request(call, at: server)
        let system = gateway.system
        let last = Locked(system.now())
        let error = await withTaskGroup(of: PhoneError.self) { group in
            group.addTask { await read(request, last, heard) }
            group.addTask {
                while true {
                    let rest = silence - system.now().timeIntervalSince(last.with { $0 })
                    if rest <= 0 { return PhoneError(.retry, PhoneError.noAnswer, "the line was silent for \(Int(silence)) s") }
                    do { try await system.sleep(rest) } catch { return PhoneError(.retry, PhoneError.noAnswer, "cancelled") }
                }
            }
            let first = await group.next() ?? PhoneError(.retry, PhoneError.noAnswer, "cancelled")
            group.cancelAll()
            return first
        }
        refused(error, credential)
        return error
    }

    private func read(_ request: URLRequest, _ last: Locked<Date>, _ heard: @Sendable (ServerEvent) throws -> Void) async -> PhoneError {
        let sent = gateway.system.now()
        var status = 0, headers: [String: String] = [:], refusal = Data()
        var events = EventParser()
        do {
            for try await part in gateway.transport.stream(request) {
                last.with { $0 = gateway.system.now() }
                switch part {
                case .head(status: let code, headers: let fields):
                    (status, headers) = (code, fields)
                    gateway.learn(headers, sent: sent)
                    if code == 200, !(headers["content-type"] ?? "").hasPrefix("text/event-stream") { return .unreadable(status: code) }
                case .bytes(let bytes) where status == 200:
                    for event in events.read(bytes) {
                        if event.name == "error" { return broken(event.data) }
                        try heard(event)
                    }
                case .bytes(let bytes):
                    refusal.append(bytes.prefix(1 << 20))
                }
            }
        } catch {
            return status == 0 ? .noAnswer(error) : PhoneError(.retry, PhoneError.noAnswer, "the line broke: \(error.localizedDescription)")
        }
        switch status {
        case 0: return PhoneError(.retry, PhoneError.noAnswer, "the connection ended without an answer")
        case 200: return PhoneError(.retry, PhoneError.noAnswer, "the stream ended")
        default:
            return PhoneError(
                status: status, body: refusal, requestID: headers["x-request-id"], retryAfter: headers["retry-after"].flatMap(TimeInterval.init))
        }
    }

    /// What the server says before it ends a stream by itself.
    private func broken(_ text: String) -> PhoneError {
        guard let status = try? JSON(Data(text.utf8)) else { return .unreadable(status: 200) }
        return PhoneError(endOfStream: status)
    }
}
