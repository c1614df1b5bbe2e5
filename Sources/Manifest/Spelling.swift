/// Finds the word that was probably meant.
public enum Spelling {
    /// The one of `candidates` nearest to `word`, where it is near enough to be worth a question.
    ///
    /// Near enough is an edit distance (insert, delete, exchange, swap of neighbours) of a third of the word, at least 1,
    /// and never more than `most`.
    public static func nearest(
        to word: String, among candidates: some Sequence<String>, within most: Int = .max
    ) -> String? {
        let letters = Array(word.utf8)
        // A word of kilobytes is no spelling mistake, and the distance takes the product of both lengths.
        guard letters.count <= 100 else { return nil }
        let limit = min(most, max(1, letters.count / 3))
        var best: (word: String, distance: Int)?
        for candidate in candidates where abs(candidate.utf8.count - letters.count) <= limit {
            let distance = self.distance(letters, Array(candidate.utf8))
            guard distance <= limit else { continue }
            if let found = best, (found.distance, found.word) <= (distance, candidate) { continue }
            best = (candidate, distance)
        }
        return best?.word
    }

    /// The optimal string alignment distance.
    private static func distance(_ first: [UInt8], _ second: [UInt8]) -> Int {
        var beforePrevious: [Int] = []
        var previous = Array(0...second.count)
        for (row, letter) in first.enumerated() {
            var current = [row + 1]
            current.reserveCapacity(second.count + 1)
            for (column, other) in second.enumerated() {
                var cost = min(
                    previous[column + 1] + 1, current[column] + 1, previous[column] + (letter == other ? 0 : 1))
                if row > 0, column > 0, letter == second[column - 1], first[row - 1] == other {
                    cost = min(cost, beforePrevious[column - 1] + 1)
                }
                current.append(cost)
            }
            beforePrevious = previous
            previous = current
        }
        return previous.last ?? 0
    }
}
