// The audio files of a corpus folder, without a Python object a file: a hundred thousand of them weigh little and cost
// what the file system takes.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "common/fresh.hpp"

namespace clinaug {

// A folder that cannot be listed, or a file that cannot be looked at though it is there: `code` is errno, and the message the
// system's.
class Unlistable : public std::runtime_error {
 public:
  Unlistable(int error, std::string path);
  int code;
  std::string path;
};

// Of errno: what is wrong with a name. All else, a disk that fails, say, is no property of the corpus.
bool is_of_the_name(int error);

struct Listing {
  Fresh<char> names;             // paths inside the folder, '/' between, end to end; in the order of their bytes
  Fresh<std::int32_t> offsets;   // of each name and of the end: one more than files
  Fresh<std::int64_t> bytes;     // of each file; -1 of one that is gone, leads nowhere or is not for us
  std::vector<std::pair<std::string, std::int64_t>> labels;  // top folders in order, and their numbers of files
  std::vector<std::string> unlabelled;                       // audio outside any top folder
  std::map<std::string, std::int64_t> ignored;               // files that are not audio by suffix, "" for none
  std::vector<std::string> left_out;                         // folders: hidden ones, and links to those seen already
  std::vector<std::string> dead_links;                       // to a folder or a file, nobody knows: they lead nowhere
};

// Files whose name ends in one of `suffixes` (lower case, with the dot; ASCII case is ignored) are audio, those that begin
// with a dot are not. Folders that begin with a dot are left out; linked folders are followed, each real one once.
// Throws Unlistable; std::length_error where the names pass 2 GiB.
Listing list_audio(const std::string& root, const std::vector<std::string>& suffixes, std::int64_t threads);

}  // namespace clinaug
