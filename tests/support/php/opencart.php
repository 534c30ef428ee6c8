<?php
// What the module uses of OpenCart 4.1, as its sources have it. php opencart.php MODULE URL SECRET JSON: JSON changes the order and its lines.
namespace Opencart\System\Engine;
class Controller { public function __construct(public $config, public $db, public $request, public $log, public $model_checkout_order) {} }
class Get { public function __construct(private array $all) {} public function get($name) { return $this->all[$name] ?? null; } }
class Db {
  public $row; private $rows = [];
  public function query($text) {
    if (preg_match("/product_to_category.*`product_id` = '(\\d+)'/s", $text, $product)) {
      $this->row = $product[1] == '40' ? ['name' => 'Phones &amp; PDAs'] : [];
      return $this;
    }
    preg_match("/`order_id` = '(\d+)'/", $text, $id);
    if (preg_match("/^REPLACE.*`token` = '([^']*)'/", $text, $token)) $this->rows[$id[1]] = ['token' => $token[1]];
    $this->row = $this->rows[$id[1]] ?? [];
    return $this;
  }
  public function escape($text) { return addslashes($text); }
}
class Request { public $server = []; public $get = []; }
class Log { public function write($text) { fwrite(STDOUT, $text); } }
class Orders {
  public function __construct(private array $changes) {}
  public function getOrder($id) { return ($this->changes['order'] ?? []) + ['order_id' => $id, 'total' => '252.4000', 'email' => ' Bob.Norman@mail.example', 'date_added' => '2026-11-27 09:00:00']; }
  public function getTotals($id) { return $this->changes['totals'] ?? [['code' => 'sub_total', 'title' => 'Sub-Total', 'value' => 202], ['code' => 'shipping', 'title' => 'Flat', 'value' => 5],
    ['code' => 'coupon', 'title' => 'Coupon (TENOFF)', 'value' => -10], ['code' => 'tax', 'title' => 'Eco Tax', 'value' => 6], ['code' => 'tax', 'title' => 'VAT', 'value' => 49.4]]; }
  public function getProducts($id) { return $this->changes['lines'] ?? [['product_id' => 40, 'model' => 'iPhone', 'name' => 'i &amp; Phone', 'quantity' => 2, 'price' => 101, 'tax' => 22.7]]; }
}
define('DB_PREFIX', 'oc_');
set_error_handler(function ($kind, $text, $file, $line) { if ($kind !== E_DEPRECATED) throw new \ErrorException("$text in line $line"); });
require $argv[1];
$config = new Get(['module_clew_status' => 1, 'module_clew_url' => $argv[2], 'module_clew_secret' => $argv[3], 'config_currency' => 'USD',
  'config_processing_status' => [1, 2, 5, 12], 'config_complete_status' => [5]]);
$request = new Request;
$module = new \Opencart\Catalog\Controller\Extension\Clew\Clew($config, new Db, $request, new Log, new Orders(json_decode($argv[4], true)));
// The customer's request adds the order; a payment's callback comes without the header.
[$route, $args, $output] = ['checkout/order.addOrder', [[]], 1];
$request->server['HTTP_X_CLEW_REFERRAL'] = getenv('TOKEN');
$request->get = ['route' => getenv('ROUTE') ?: 'checkout/confirm.confirm'];
$module->keep($route, $args, $output);
$request->server = [];
// A checkout that is not confirmed has no status.
[$route, $args, $output] = ['checkout/order.addHistory', [1, 0], null];
$module->report($route, $args, $output);
[$route, $args, $output] = ['checkout/order.addHistory', [1, 1], null];
$module->report($route, $args, $output);
