import Foundation

// Times as the API writes them, RFC 3339 in UTC with up to nine digits of a
// second. Foundation's own parsers take a fixed number of digits, and differ
// between systems.
extension Date {
    init?(rfc3339 text: String) {
        let ascii = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int? {
            guard range.upperBound <= ascii.count else { return nil }
            var sum = 0
            for byte in ascii[range] {
                guard byte >= 0x30, byte <= 0x39 else { return nil }
                sum = sum * 10 + Int(byte - 0x30)
            }
            return sum
        }
        func has(_ character: Character, at index: Int) -> Bool {
            index < ascii.count && ascii[index] == character.asciiValue
        }
        guard let year = number(0..<4), has("-", at: 4), let month = number(5..<7), has("-", at: 7), let day = number(8..<10),
            has("T", at: 10) || has("t", at: 10),
            let hour = number(11..<13), has(":", at: 13), let minute = number(14..<16), has(":", at: 16), let second = number(17..<19),
            (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second <= 60
        else { return nil }
        var end = 19
        var fraction = 0.0
        if has(".", at: end) {
            end += 1
            var unit = 0.1
            let first = end
            while end < ascii.count, let digit = number(end..<end + 1) {
                fraction += Double(digit) * unit
                unit /= 10
                end += 1
            }
            guard end > first else { return nil }
        }
        var offset = 0
        if has("Z", at: end) || has("z", at: end) {
            guard end + 1 == ascii.count else { return nil }
        } else {
            guard has("+", at: end) || has("-", at: end), let hours = number(end + 1..<end + 3), has(":", at: end + 3),
                let minutes = number(end + 4..<end + 6), end + 6 == ascii.count
            else { return nil }
            offset = (hours * 60 + minutes) * (has("+", at: end) ? 60 : -60)
        }
        let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset
        self.init(timeIntervalSince1970: Double(seconds) + fraction)
    }

    /// With three digits of a second.
    var rfc3339: String {
        let milliseconds = Int((timeIntervalSince1970 * 1_000).rounded())
        let (seconds, rest) = floorDivide(milliseconds, by: 1_000)
        let (dayNumber, inDay) = floorDivide(seconds, by: 86_400)
        let (year, month, day) = civil(dayNumber)
        func pad(_ number: Int, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(width - digits.count, 0)) + digits
        }
        return "\(pad(year, 4))-\(pad(month, 2))-\(pad(day, 2))T\(pad(inDay / 3_600, 2)):\(pad(inDay / 60 % 60, 2)):\(pad(inDay % 60, 2)).\(pad(rest, 3))Z"
    }

    /// The Date header of an answer: "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110).
    init?(httpDate text: String) {
        let parts = text.split(separator: " ")
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        guard parts.count == 6, parts[5] == "GMT", let day = Int(parts[1]), let month = months.firstIndex(of: String(parts[2])),
            let year = Int(parts[3])
        else { return nil }
        let clock = parts[4].split(separator: ":").compactMap { Int($0) }
        guard clock.count == 3 else { return nil }
        let seconds = days(year, month + 1, day) * 86_400 + clock[0] * 3_600 + clock[1] * 60 + clock[2]
        self.init(timeIntervalSince1970: Double(seconds))
    }
}

private func floorDivide(_ number: Int, by divisor: Int) -> (quotient: Int, remainder: Int) {
    let remainder = (number % divisor + divisor) % divisor
    return ((number - remainder) / divisor, remainder)
}

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March here,
/// so that the leap day is the last of its year.
private func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
    let y = month <= 2 ? year - 1 : year
    let era = floorDivide(y, by: 400)
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    let dayOfEra = era.remainder * 365 + era.remainder / 4 - era.remainder / 100 + dayOfYear
    return era.quotient * 146_097 + dayOfEra - 719_468
}

/// The inverse of `days`.
private func civil(_ days: Int) -> (year: Int, month: Int, day: Int) {
    let era = floorDivide(days + 719_468, by: 146_097)
    let d = era.remainder
    let yearOfEra = (d - d / 1_460 + d / 36_524 - d / 146_096) / 365
    let dayOfYear = d - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let m = (5 * dayOfYear + 2) / 153
    let month = m + (m < 10 ? 3 : -9)
    return (yearOfEra + era.quotient * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * m + 2) / 5 + 1)
}
