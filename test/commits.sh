#!/usr/bin/env bash
# Subjects of commits: "area: do something", lower case, at most 72 characters.
#
#   test/commits.sh [revisions, as git rev-list takes them]
#
# Without arguments, it checks commits since the last release's tag that are built
# on the commit that added this file, since older ones had no such rule.  In a
# shallow clone that is the oldest commit.  Merges are left out.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8

if [ $# -eq 0 ]; then
    if [ ! -e .git ]; then
        echo "no git history here: no commit is checked"
        exit
    fi
    rule=$(git log -1 --format=%H --diff-filter=A -- test/commits.sh)
    if [ -z "$rule" ]; then
        exit # not committed yet
    fi
    set -- --ancestry-path "$rule..HEAD"
    tag=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)
    [ -z "$tag" ] || set -- "$@" "^$tag"
fi

# An approximate check for moods other than the imperative: a noun with its
# article, and verbs with other endings than imperatives, with some exceptions.
other_mood='^(an?|the|this|that|these|those|it|its|what|which|who|whoever|nobody|somebody|each|every|all|no|one|two|both)$|([^su]s|ing|ed)$'
imperative='^(alias|bring|embed|exceed|feed|need|proceed|seed|shed|speed|spring|swing)$'

problem() {
    local subject=$1 area='[a-z][a-z0-9_./-]*'
    if [ "${#subject}" -gt 72 ]; then
        echo "has ${#subject} characters, more than 72"
    elif [[ $subject =~ ^Revert\ \".*\"$ ]]; then
        : # git's own words
    elif [[ ! $subject =~ ^$area(,\ $area)*:\ ([a-z][^ ,:;]*)( .*)?$ ]]; then
        echo 'is not of the form "area: do something" in lower case'
    elif [[ $subject =~ \.$ ]]; then
        echo "ends with a period"
    else
        [[ $subject =~ ^[^:]*:\ ([^ ,:;]*) ]]
        local word=${BASH_REMATCH[1]}
        if [[ $word =~ $other_mood && ! $word =~ $imperative ]]; then
            echo "says \"$word\", which is no imperative"
        fi
    fi
}

commits=$(git log --no-merges --format='%h %s' "$@")
bad=0
while read -r commit subject; do
    [ -n "$commit" ] || continue
    found=$(problem "$subject")
    [ -n "$found" ] || continue
    echo "commit $commit: \"$subject\" $found"
    bad=1
done <<<"$commits"
exit $bad
