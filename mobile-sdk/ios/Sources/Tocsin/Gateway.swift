import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// One call of the API, as JSON over HTTP.
struct Call: Sendable {
    var method = "POST"
    var path: String
    var query: [(name: String, value: String)] = []
    var body: JSON?
    /// The credential; nil for calls that need none.
    var bearer: String?
    var headers: [String: String] = [:]
    /// In seconds, from the first byte sent to the last one received.
    var timeout: TimeInterval = 10
}

/// Makes calls, reads answers and refusals, and learns the server's time from both.
struct Gateway: Sendable {
    let transport: any Transport
    let system: SystemClock
    let clock: ServerClock
    /// What the server's log knows the app by: "com.example.oncall/1.2 tocsin-ios".
    let agent: String

    /// Answers of the API are far smaller; who sends more is not the server.
    private static let mostBytes = 8 << 20

    /// The answer to a call.
    func answer(_ call: Call, at server: URL) async throws(PhoneError) -> JSON {
        let request = request(call, at: server)
        let sent = system.now()
        let done = await system.within(call.timeout) { await collect(request) }
        guard let done else {
            if Task.isCancelled { throw PhoneError(.retry, PhoneError.noAnswer, "the call was cancelled") }
            throw PhoneError(.retry, PhoneError.noAnswer, "the server did not answer within \(Int(call.timeout)) s")
        }
        let answer = try done.get()
        learn(answer.headers, sent: sent)
        guard answer.status == 200 else {
            throw PhoneError(
                status: answer.status, body: answer.body, requestID: answer.headers["x-request-id"],
                retryAfter: answer.headers["retry-after"].flatMap(TimeInterval.init))
        }
        guard let json = try? JSON(answer.body), json.object != nil else { throw .unreadable(status: answer.status) }
        if let exact = json["serverTime"].date {
            clock.learn(exact, resolution: 0.001, sent: sent, answered: system.now())
        }
        return json
    }

    private struct Answer: Sendable {
        var status = 0
        var headers: [String: String] = [:]
        var body = Data()
    }

    private func collect(_ request: URLRequest) async -> Result<Answer, PhoneError> {
        var answer = Answer()
        do {
            for try await part in transport.stream(request) {
                switch part {
                case .head(let status, let headers):
                    answer.status = status
                    answer.headers = headers
                case .bytes(let bytes):
                    answer.body.append(bytes)
                    guard answer.body.count <= Self.mostBytes else { return .failure(.unreadable(status: answer.status)) }
                }
            }
        } catch {
            return .failure(.noAnswer(error))
        }
        guard answer.status != 0 else { return .failure(PhoneError(.retry, PhoneError.noAnswer, "the connection ended without an answer")) }
        return .success(answer)
    }

    /// The request of a call.
    func request(_ call: Call, at server: URL) -> URLRequest {
        var text = server.absoluteString
        while text.hasSuffix("/") { text.removeLast() }
        text += call.path
        if !call.query.isEmpty {
            text += "?" + call.query.map { "\($0.name)=\(escape($0.value))" }.joined(separator: "&")
        }
        // Paths are made of checked ids and escaped values, on an address that has been parsed before.
        var request = URLRequest(url: URL(string: text) ?? server)
        request.httpMethod = call.method
        request.timeoutInterval = call.timeout
        request.setValue(agent, forHTTPHeaderField: "User-Agent")
        request.setValue("application/json", forHTTPHeaderField: "Accept")
        if let body = call.body {
            request.httpBody = body.data
            request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        }
        if let bearer = call.bearer {
            request.setValue("Bearer " + bearer, forHTTPHeaderField: "Authorization")
        }
        for (name, value) in call.headers {
            request.setValue(value, forHTTPHeaderField: name)
        }
        return request
    }

    /// Learns the server's time from the head of an answer.
    func learn(_ headers: [String: String], sent: Date) {
        if let date = headers["date"].flatMap(Date.init(httpDate:)) {
            clock.learn(date, resolution: 1, sent: sent, answered: system.now())
        }
    }

    private func escape(_ value: String) -> String {
        var plain = CharacterSet()
        plain.insert(charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
        return value.addingPercentEncoding(withAllowedCharacters: plain) ?? ""
    }
}
